"""How requests travel: an interface, and HTTP over the standard library.

Another transport (MQTT, a message bus, a test) implements `Transport` and keeps HTTP's words: methods, paths,
headers, statuses. Bodies are bounded, so neither side of a request can fill the memory.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from acclimate_device import __version__
from acclimate_device.agent.proxy import proxy_at, proxy_of
from acclimate_device.errors import TransportError

_PIECE_BYTES = 4096
_OUT_OF_TIME = (9, 10)
"""OpenSSL's codes of a certificate that is not yet, or no longer, valid."""
_SLOWEST_BYTES_PER_S = 64.0
"""An answer that comes slower, once a timeout has passed, never ends: a proxy that hangs, or worse."""


@dataclass(frozen=True)
class Response:
    """An answer; header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Transport(Protocol):
    """Sends one request at a time to one server.

    One that others read along has an attribute `overheard`, which is true: the device then signs each request
    and shows no bearer token.
    """

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        """The answer, whatever its status.

        Raises:
            TransportError: no answer, or one longer than `max_bytes`.
        """


def refuse_page(path: str, answer: Response) -> None:
    """Whoever answers a device with a web page, or sends it elsewhere, is not whom it asked.

    Raises:
        TransportError: a captive portal, or a proxy that explains itself.
    """
    kind = answer.headers.get("content-type", "").lower()
    looks = answer.body[:64].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    page = answer.status < 400 and (looks or kind.startswith(("text/html", "application/xhtml")))
    if page or (300 <= answer.status < 400 and answer.status != 304) or answer.status == 511:
        raise TransportError(
            f"{path}: a web page answered in place of the server (a captive portal, or a proxy?): sign in on "
            "this network, or have its operator let the device through",
            answer.status if answer.status != 200 else 0,
        )


class HttpTransport:
    """HTTP/1.1 with one connection that is kept open.

    Args:
        url: of the server; its path is put in front of every path.
        ca_file: certificate authorities; None means the system's. It is read for each new connection, so that
            they may change while an agent runs.
        timeout_s: of connecting and of each read.
        proxy: URL of an HTTP proxy; None asks `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
        bytes_per_s: most that answers may take of the link on average; 0 for all there is.

    Raises:
        ConfigError: the proxy is no URL of an HTTP proxy.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path | None = None,
        timeout_s: float = 30.0,
        proxy: str | None = None,
        bytes_per_s: float = 0.0,
    ) -> None:
        parts = urlsplit(url)
        self._prefix, self._scheme = parts.path.rstrip("/"), parts.scheme
        self._host, self._port, self._timeout_s = parts.hostname or "", parts.port, timeout_s
        self._ca_file, self._bytes_per_s = ca_file, bytes_per_s
        self._proxy = proxy_of(url) if proxy is None else proxy_at(proxy)
        if self._proxy is not None and self._scheme == "http":
            self._prefix = f"{parts.scheme}://{parts.netloc}{self._prefix}"
        self._connection: http.client.HTTPConnection | None = None

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        sent = {"User-Agent": f"acclimate-device/{__version__}", **headers}
        for fresh in (False, True):
            reused = self._connection is not None
            try:
                return self._exchange(method, self._prefix + path, sent, body, max_bytes)
            except TransportError:
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:  # of a host that no name may be
                self.close()
                # a server may close an idle connection at any time: that says nothing about this request
                if not reused or fresh:
                    told = f"{error or type(error).__name__}{of_the_clock(error)}"
                    raise TransportError(f"{method} {self._host}{path}: {told}") from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        if self._connection is None:
            self._connection = self._connect()
        if self._proxy is not None and self._scheme == "http":
            headers = {**headers, **self._proxy.headers}
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        data = self._read(answer, max_bytes + 1)
        found = {name.lower(): value for name, value in answer.getheaders()}
        if found.get("content-encoding", "").lower() in ("gzip", "x-gzip") and answer.status != 206:
            data = _unpacked(data, max_bytes + 1)  # nobody asked for that: a proxy, or a server's default
            del found["content-encoding"]
        if len(data) > max_bytes:
            self.close()
            raise TransportError(
                f"{method} {path}: the answer is longer than {max_bytes} bytes", answer.status
            )
        if answer.will_close:
            self.close()
        return Response(answer.status, found, data)

    def _read(self, answer: http.client.HTTPResponse, most: int) -> bytes:
        """The body; of a range, what came before the connection broke, for the rest can be asked for next."""
        data = bytearray()
        try:
            self._read_into(data, answer, most)
        except (OSError, http.client.IncompleteRead) as error:
            if answer.status != 206 or not data or isinstance(error, TimeoutError):
                raise
            self.close()
        return bytes(data)

    def _read_into(self, data: bytearray, answer: http.client.HTTPResponse, most: int) -> None:
        """Append the body, in pieces that keep to the rate."""
        began = time.monotonic()
        most_at_once = _PIECE_BYTES if self._bytes_per_s else most
        while len(data) < most and (piece := answer.read1(min(most_at_once, most - len(data)))):
            data += piece
            passed = time.monotonic() - began
            if passed > self._timeout_s + len(data) / _SLOWEST_BYTES_PER_S:
                raise TimeoutError(f"{len(data)} bytes came in {passed:.0f} s")
            if self._bytes_per_s:
                time.sleep(max(0.0, len(data) / self._bytes_per_s - passed))
        if len(data) < most:  # what read1 alone does not do: tell an end that came early, free the connection
            if answer.length:
                raise http.client.IncompleteRead(bytes(data), answer.length)
            answer.read(0)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else (self._host, self._port)
        connection: http.client.HTTPConnection
        if self._scheme == "https":
            tls = trusting(self._ca_file)
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        if self._proxy is not None and self._scheme == "https":
            connection.set_tunnel(self._host, self._port or 443, dict(self._proxy.headers))
        connection.response_class = _Answer
        return connection


def _unpacked(data: bytes, most: int) -> bytes:
    """At most so many of the bytes that gzip packed.

    Raises:
        ValueError: it is not whole, or no gzip.
    """
    if not data:
        return data
    unpacking = zlib.decompressobj(zlib.MAX_WBITS + 16)
    try:
        plain = unpacking.decompress(data, most)
    except zlib.error as error:
        raise ValueError(f"the answer's gzip is damaged: {error}") from None
    if not unpacking.eof and len(plain) < most:
        raise ValueError("the answer's gzip ends early")
    return plain


def of_the_clock(error: Exception) -> str:
    """What else may be wrong where a certificate has ended, or is yet to begin."""
    if getattr(error, "verify_code", 0) not in _OUT_OF_TIME:
        return ""
    return f": if {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC is wrong, set this machine's clock"


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """A TLS context that trusts these authorities; None means the system's.

    Raises:
        TransportError: the file cannot be read, or holds none.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise TransportError(f"ca_file {ca_file}: {error.strerror}: give certificates in PEM") from None


class _Answer(http.client.HTTPResponse):
    """An answer whose head comes whole within the socket's timeout, not only each of its bytes."""

    def __init__(self, sock: socket.socket, *rest: Any, **others: Any) -> None:
        super().__init__(sock, *rest, **others)
        self.fp.close()
        self._timed = _Timed(sock)
        self.fp = io.BufferedReader(self._timed)

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200 and self.status != 101:  # such as 103: the answer is yet to come
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        self._timed.head_came()


class _Timed(io.RawIOBase):
    """What a socket receives; until the head came, within its timeout altogether."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._timeout_s = sock.gettimeout()
        self._until = None if self._timeout_s is None else time.monotonic() + self._timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0.0:
                raise TimeoutError("the head of the answer comes too slowly")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def head_came(self) -> None:
        self._until = None
        self._sock.settimeout(self._timeout_s)

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError):
                self.head_came()
            self._raw.close()
        super().close()
