"""An authority of our own, and certificates that it gives servers: for tests of TLS on loopback."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Authority:
    """A certificate authority; what it signs is valid for a day.

    Args:
        began: when that began; None for an hour ago.
    """

    def __init__(self, began: datetime | None = None) -> None:
        self._began = began
        self._key = ec.generate_private_key(ec.SECP256R1())
        # A name of its own: of two authorities with one name, OpenSSL tries the wrong one's key.
        self._name = _called(f"authority {x509.random_serial_number():x}"[:40])
        self._own = self._signed(self._name, self._key, x509.BasicConstraints(True, 0))

    def write(self, path: Path) -> Path:
        """The authority's own certificate as PEM."""
        path.write_bytes(self._own)
        return path

    def issue(self, *hosts: str) -> tuple[bytes, bytes]:
        """A certificate for these names or addresses, and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._signed(_called(hosts[0]), key, names), secret

    def server(self, folder: Path) -> ssl.SSLContext:
        """A server's side for 127.0.0.1 and ::1, of `server.pem` in the folder."""
        certificate, key = self.issue("127.0.0.1", "::1")
        (folder / "server.pem").write_bytes(key + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        return context

    def _signed(
        self, subject: x509.Name, of: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> bytes:
        began = self._began or datetime.now(UTC) - timedelta(hours=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)


def write_certificates(folder: Path, host: str) -> None:
    """`ca.crt`, and `server.crt` with `server.key` for `host`, of a new authority."""
    authority = Authority()
    authority.write(folder / "ca.crt")
    certificate, key = authority.issue(host)
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.key").touch(mode=0o600)
    (folder / "server.key").write_bytes(key)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
