"""Ed25519 keys as PKCS#8 PEM files: mode 0600, encrypted where there is a passphrase, never overwritten."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, Signer

from acclimate.errors import BundleError
from acclimate.files import create_whole

_ENCRYPTED = b"BEGIN ENCRYPTED PRIVATE KEY"

Signers = dict[str, Signer]
"""By key id."""


def create_key(path: Path, passphrase: str | None) -> CryptoSigner:
    """Make a key and write it to `path`, encrypted if there is a passphrase.

    Raises:
        BundleError: the file exists or cannot be written; no key is ever overwritten.
    """
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_whole(path, content, mode=0o600)
    except FileExistsError:
        raise BundleError(
            f"{path} exists and is not overwritten: choose another directory for the keys"
        ) from None
    except OSError as error:
        raise BundleError(f"the key cannot be written to {path}: {error.strerror}") from error
    return CryptoSigner(key)


def load_keys(paths: Iterable[Path], passphrase: str | None) -> Signers:
    """Signers from PEM files; a directory stands for every `*.pem` in it.

    Raises:
        BundleError: a file is missing, readable by everyone, no key, or its passphrase is missing or wrong.
    """
    signers = [_load(file, passphrase) for file in _files(paths)]
    return {signer.public_key.keyid: signer for signer in signers}


def any_encrypted(paths: Iterable[Path]) -> bool:
    """Whether `load_keys` needs a passphrase for any of these files."""
    return any(_ENCRYPTED in file.read_bytes() for file in _files(paths) if file.is_file())


def _files(paths: Iterable[Path]) -> list[Path]:
    return [file for path in paths for file in (sorted(path.glob("*.pem")) if path.is_dir() else [path])]


def _load(path: Path, passphrase: str | None) -> CryptoSigner:
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise BundleError(f"the key {path} cannot be read: {error.strerror}") from error
    if mode & stat.S_IROTH:  # a group may read it: that is how Kubernetes mounts a secret
        raise BundleError(
            f"the key {path} is readable by everyone: chmod 600 it, and rotate it if others log in here"
        )
    encrypted = _ENCRYPTED in content
    if encrypted and not passphrase:
        raise BundleError(
            f"the key {path} is encrypted: set ACCLIMATE_KEY_PASSPHRASE or ACCLIMATE_KEY_PASSPHRASE_FILE"
        )
    try:
        key = load_pem_private_key(content, passphrase.encode() if passphrase and encrypted else None)
        return CryptoSigner(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # the cause is not chained: its text could quote what was read
        reason = "the passphrase is wrong" if encrypted else "it is no private key in PEM"
        raise BundleError(f"the key {path} cannot be used: {reason}") from None
