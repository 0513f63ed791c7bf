"""The service's own key: it signs what each device should run, and nothing else.

It is not a key of the TUF repository: whoever steals it can withhold or roll back within what was signed
elsewhere, but can never make a device take weights of their own.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from acclimate.errors import RolloutError
from acclimate.files import create_whole, making


class ServiceKey:
    """An Ed25519 key with the secrets derived from it, so that replicas share one file."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def load_or_create(cls, path: Path) -> ServiceKey:
        """Read the key at `path` (PEM, PKCS #8), making it, readable by its owner alone, where there is none.

        Raises:
            RolloutError: the file is not an Ed25519 key in PEM, or there is none and none can be made.
        """
        if not path.exists():
            with making(f"the service's key {path}", RolloutError):
                _create(path)
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise RolloutError(f"{path} is not an unencrypted private key in PEM: {error}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise RolloutError(f"{path} holds a {type(private).__name__}: the service signs with Ed25519")
        return cls(private)

    @property
    def public_bytes(self) -> bytes:
        """The public key, 32 raw bytes."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._private.sign(message)

    def derive(self, purpose: str) -> bytes:
        """A 32-byte secret for one purpose (RFC 5869); different purposes tell nothing about each other."""
        hkdf = HKDF(hashes.SHA256(), 32, salt=None, info=b"acclimate " + purpose.encode())
        return hkdf.derive(self._private.private_bytes_raw())


def _create(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        create_whole(path, pem, mode=0o600)
    except FileExistsError:
        if not path.exists():
            raise  # a file is where its folder should be; else a second process was quicker: its key counts
