"""The service's certificate: refused in one line when unusable, read again when its files change."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from acclimate.errors import RolloutError
from acclimate.rollout.certificate import ServerCertificate
from tests.support.certificates import write_certificates


@pytest.fixture
def issued(tmp_path: Path) -> Path:
    write_certificates(tmp_path, "localhost")
    return tmp_path


def served(folder: Path) -> ServerCertificate:
    return ServerCertificate(folder / "server.crt", folder / "server.key")


@contextmanager
def listening(certificate: ServerCertificate) -> Iterator[int]:
    """A server that shakes hands and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with suppress(OSError), certificate.context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def trusted(port: int, authority: Path, name: str | None = "localhost") -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = name is not None
    try:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
            return True
    except ssl.SSLError:
        return False


def test_new_files_are_shown_to_who_connects_after_that(issued: Path, tmp_path_factory) -> None:
    certificate, later = served(issued), tmp_path_factory.mktemp("later")
    write_certificates(later, "localhost")
    with listening(certificate) as port:
        assert trusted(port, issued / "ca.crt")
        (later / "server.crt").replace(issued / "server.crt")
        certificate.renew()  # the key is not there yet
        assert trusted(port, issued / "ca.crt")
        (later / "server.key").replace(issued / "server.key")
        certificate.renew()
        assert trusted(port, later / "ca.crt")
        assert trusted(port, later / "ca.crt", None)  # who asks for an address names no host
        assert not trusted(port, issued / "ca.crt")
        (issued / "server.key").unlink()
        certificate.renew()
        assert trusted(port, later / "ca.crt")


def _foreign_key(folder: Path, encryption: serialization.KeySerializationEncryption) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (folder / "server.key").write_bytes(pem)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "server.crt").unlink(), r"server\.crt cannot be read: No such file"),
        (lambda folder: (folder / "server.crt").write_bytes(b"\x00\xff"), r"server\.crt is no PEM file"),
        (
            lambda folder: (folder / "server.crt").write_bytes((folder / "server.key").read_bytes()),
            r"server\.crt is no PEM file",
        ),
        (lambda folder: (folder / "server.key").write_text(""), r"server\.key cannot be used"),
        (lambda folder: _foreign_key(folder, serialization.NoEncryption()), r"server\.key cannot be used"),
        (
            lambda folder: _foreign_key(folder, serialization.BestAvailableEncryption(b"secret")),
            r"server\.key cannot be used .*encrypted",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_with_file_and_remedy(issued: Path, damage, told: str) -> None:
    damage(issued)
    with pytest.raises(RolloutError, match=told):
        served(issued)
