"""Requests of a device that reach the service through a proxy."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acclimate_device.agent import HttpTransport
from acclimate_device.agent.proxy import proxy_at
from acclimate_device.errors import ConfigError, TransportError
from tests.support.answering import answering
from tests.support.certificates import Authority
from tests.unit.device.test_network import get, ok


@contextmanager
def proxying() -> Iterator[tuple[int, list[str]]]:
    """A proxy that takes CONNECT and absolute URLs, wants a password, and notes the first line of each."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), []

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := client.recv(4096)):
                return
            head += piece
        first = head.split(b"\r\n")[0].decode()
        asked.append(first)
        if b"Proxy-Authorization: Basic dXNlcjpwYXNz" not in head:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            client.close()
            return
        method, target, _ = first.split(" ")
        address = target if method == "CONNECT" else target.removeprefix("http://").partition("/")[0]
        host, _, port = address.rpartition(":")
        server = socket.create_connection((host, int(port)))
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head.replace(b"http://" + address.encode(), b""))
        while True:
            for one, other in ((client, server), (server, client)):
                if select.select([one], [], [], 0.01)[0]:
                    if not (piece := one.recv(65536)):
                        return
                    other.sendall(piece)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.close()


def test_requests_go_through_the_proxy_of_the_environment(monkeypatch, tmp_path: Path) -> None:
    authority = Authority()
    bundle = authority.write(tmp_path / "ca.pem")
    with (
        answering(ok) as plain,
        answering(ok, authority.server(tmp_path)) as secure,
        proxying() as (proxy, asked),
    ):
        address = f"http://user:pass@127.0.0.1:{proxy}"
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert get(HttpTransport(f"http://127.0.0.1:{plain}/sub"), "/path") == b"ok"
        assert get(HttpTransport(f"https://127.0.0.1:{secure}", bundle)) == b"ok"
        assert asked == [
            f"GET http://127.0.0.1:{plain}/sub/path HTTP/1.1",
            f"CONNECT 127.0.0.1:{secure} HTTP/1.1",
        ] or asked[1].startswith(f"CONNECT 127.0.0.1:{secure} HTTP/1.")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert get(HttpTransport(f"https://127.0.0.1:{secure}", bundle)) == b"ok"
        assert len(asked) == 2
        monkeypatch.setenv("NO_PROXY", "elsewhere")
        with pytest.raises(TransportError, match="407"):
            get(HttpTransport(f"https://127.0.0.1:{secure}", bundle, proxy=f"http://127.0.0.1:{proxy}"))


@pytest.mark.parametrize("address", ["socks5://user:secret@host:1", "http://", "http://host:port"])
def test_what_is_no_http_proxy_is_refused_without_telling_its_password(address: str) -> None:
    with pytest.raises(ConfigError, match=r"give a URL such as http://proxy\.example\.org") as refused:
        proxy_at(address)
    assert "secret" not in str(refused.value)


# -- own authorities, certificates that are renewed, IPv6 --------------------------------------------------
