"""Masks and sealed shares of a secure round: X25519, HKDF-SHA256, ChaCha20 and AES-GCM."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from acclimate_device.errors import UntrustedError
from acclimate_device.federated.shamir import SHARE_BYTES
from acclimate_device.protocol import canonical_json

Words = NDArray[np.uint32]
_ONCE = bytes(12)
"""Nonce of AES-GCM: every key seals one message."""
_KEY_BYTES = 32


def expanded(seed: bytes, numbers: int) -> Words:
    """`(numbers,)` words that nobody tells from random ones without the seed of 32 bytes."""
    stream = Cipher(ChaCha20(seed, bytes(16)), mode=None).encryptor().update(bytes(4 * numbers))
    return np.frombuffer(stream, "<u4").astype(np.uint32, copy=False)


def agreed(
    own: X25519PrivateKey, other: bytes, use: Literal["mask", "share"], round_id: str, first: str, second: str
) -> bytes:
    """The 32 bytes that two devices alone know, for one use in one round and one order of the two.

    Raises:
        UntrustedError: the other's key is none that anybody could agree with.
    """
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:
        raise UntrustedError("an X25519 key with which nobody can agree on a secret") from None
    told = canonical_json(["acclimate secure round 1", use, round_id, first, second])
    return HKDF(SHA256(), _KEY_BYTES, None, told).derive(shared)


def check_agreeable(key: bytes) -> None:
    """Refuse an X25519 key with which nobody could agree on a secret: a point of low order.

    Raises:
        UntrustedError: see above.
    """
    agreed(X25519PrivateKey.generate(), key, "mask", "", "", "")


def pair_mask(
    own: X25519PrivateKey, other: bytes, round_id: str, device: str, peer: str, numbers: int
) -> Words:
    """What `device` adds for `peer`; the two of a pair add up to zero modulo 2^32."""
    first, second = sorted((device, peer))
    mask = expanded(agreed(own, other, "mask", round_id, first, second), numbers)
    return mask if device == first else np.negative(mask)


def seal_shares(key: bytes, self_mask: bytes, mask_key: bytes) -> str:
    """Both shares for one receiver, in base64."""
    return base64.b64encode(AESGCM(key).encrypt(_ONCE, self_mask + mask_key, None)).decode()


def open_shares(key: bytes, sealed: str, sender: str) -> tuple[bytes, bytes]:
    """The shares that `sender` dealt.

    Raises:
        UntrustedError: it did not deal them, or somebody changed them.
    """
    try:
        both = AESGCM(key).decrypt(_ONCE, base64.b64decode(sealed), None)
    except (InvalidTag, ValueError):
        raise UntrustedError(f"the shares of {sender} are not what it dealt") from None
    return both[:SHARE_BYTES], both[SHARE_BYTES:]


def digest(share: bytes) -> str:
    """By which a share is told from another, and which says nothing of it."""
    return hashlib.sha256(share).hexdigest()[:32]


def raw(text: str) -> bytes:
    """A key out of base64 whose form the protocol checked."""
    return base64.b64decode(text)


def text(key: bytes) -> str:
    """A key as base64."""
    return base64.b64encode(key).decode()
