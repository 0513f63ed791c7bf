"""Signing the weights of microcontrollers with a key of the TUF repository, or any other Ed25519 key."""

from __future__ import annotations

from pathlib import Path

from acclimate.errors import BundleError
from acclimate_device.mcu.weights import SIGNATURE_BYTES, Sign


def signer_of(key: Path | None) -> Sign:
    """Signs with a PEM file; without one the signature is zeros, which no device takes by the air.

    Raises:
        BundleError: no key that can be used, or more than one.
    """
    if key is None:
        return lambda message: bytes(SIGNATURE_BYTES)
    from acclimate.bundle.repository.passphrase import signers

    found = list(signers([key]).values())
    if len(found) != 1 or found[0].public_key.keytype != "ed25519":
        raise BundleError(f"{key} holds {len(found)} keys: give the PEM file of one Ed25519 key")
    return lambda message: bytes.fromhex(found[0].sign(message).signature)
