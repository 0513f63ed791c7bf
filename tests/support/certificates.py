"""An authority of our own, and a certificate that it gave a server: for tests of TLS on loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def write_certificates(folder: Path, host: str) -> None:
    """`ca.crt`, and `server.crt` with `server.key` for `host`, valid for a day."""
    began = datetime.now(UTC) - timedelta(hours=1)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # A name of its own: of two authorities with one name, OpenSSL tries the wrong one's key.
    called = f"authority {x509.random_serial_number():x}"[:40]
    of_authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])

    def certificate(name: x509.Name, of: ec.EllipticCurvePrivateKey, *more: x509.ExtensionType) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(of_authority)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=1))
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    (folder / "ca.crt").write_bytes(
        certificate(of_authority, authority, x509.BasicConstraints(ca=True, path_length=0))
    )
    of_server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    (folder / "server.crt").write_bytes(certificate(of_server, key, names))
    (folder / "server.key").touch(mode=0o600)
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
