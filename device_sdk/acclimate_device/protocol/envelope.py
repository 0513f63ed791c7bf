"""Signed messages: exact payload bytes, their type, and Ed25519 signatures over both (DSSE's encoding).

The bytes that were signed travel as they are, so verifying never depends on how JSON is printed. The type is
signed too, so a signature made for one kind of message is worth nothing for another. Cryptography is passed
in: this package stays within the standard library.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md (pre-authentication encoding).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from acclimate_device.errors import ProtocolError, UntrustedError
from acclimate_device.protocol.codec import Items, Message, Text, dumps, loads
from acclimate_device.protocol.limits import LIMITS

Base64 = Annotated[str, Text(r"[A-Za-z0-9+/]*={0,2}", max_length=LIMITS.envelope_bytes)]
KeyId = Annotated[str, Text(r"[0-9a-f]{64}", max_length=64)]

Sign = Callable[[bytes], bytes]
"""From the bytes to sign to a raw 64-byte Ed25519 signature."""
Verify = Callable[[str, bytes, bytes], bool]
"""(key id, signed bytes, signature) to whether that key is trusted and the signature holds."""


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key: 32 raw bytes in base64. Its id is the SHA-256 of the raw bytes, in hex.

    Attributes:
        ed25519: the raw key, in base64.
    """

    ed25519: Annotated[str, Text(r"[A-Za-z0-9+/]{43}=", max_length=44)]

    @staticmethod
    def of(raw: bytes) -> PublicKey:
        return PublicKey(base64.b64encode(raw).decode())

    @property
    def raw(self) -> bytes:
        return base64.b64decode(self.ed25519)

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True)
class Signature:
    """One signature and the id of the key that made it.

    Attributes:
        key_id: SHA-256 of the raw public key, in hex.
        ed25519: the signature, in base64.
    """

    key_id: KeyId
    ed25519: Base64


@dataclass(frozen=True)
class Envelope:
    """A payload, what it is, and who vouches for it.

    Attributes:
        payload_type: media type that names the message inside, see `payload_type()`.
        payload: the message as JSON, in base64.
        signatures: over `signed_bytes`; one of a trusted key is enough.
    """

    payload_type: Annotated[str, Text(r"[a-z0-9.+/-]+", max_length=128)]
    payload: Base64
    signatures: Annotated[tuple[Signature, ...], Items(4)]


def payload_type(kind: type[object]) -> str:
    """The media type that names a message inside an envelope, for instance `DesiredState`."""
    return f"application/vnd.acclimate.{kind.__name__.lower()}.v1+json"


def seal(message: object, sign: Sign, key_id: str) -> Envelope:
    """Sign a message with one key."""
    kind, payload = payload_type(type(message)), dumps(message)
    signature = Signature(key_id, base64.b64encode(sign(signed_bytes(kind, payload))).decode())
    return Envelope(kind, base64.b64encode(payload).decode(), (signature,))


def countersigned(envelope: Envelope, sign: Sign, key_id: str) -> Envelope:
    """The envelope with one more signature."""
    signed = signed_bytes(envelope.payload_type, _decoded(envelope.payload))
    signature = Signature(key_id, base64.b64encode(sign(signed)).decode())
    return replace(envelope, signatures=(*envelope.signatures, signature))


def unseal(envelope: Envelope, kind: type[Message], verify: Verify) -> Message:
    """The message inside, after at least one of its signatures was verified.

    Raises:
        UntrustedError: another kind of message, or no signature of a trusted key holds.
        ProtocolError: the signed payload is not a `kind`.
    """
    if envelope.payload_type != payload_type(kind):
        raise UntrustedError(f"a {payload_type(kind)} was expected, {envelope.payload_type} came")
    payload = _decoded(envelope.payload)
    signed = signed_bytes(envelope.payload_type, payload)
    if not any(verify(one.key_id, signed, _decoded(one.ed25519)) for one in envelope.signatures):
        raise UntrustedError(f"no signature of a trusted key on this {kind.__name__}")
    return loads(kind, payload, LIMITS.envelope_bytes)


def unverified(envelope: Envelope, kind: type[Message]) -> Message:
    """The message inside, before its signature is checked: only to learn whose key to check it with.

    Raises:
        ProtocolError: the payload is not a `kind`.
    """
    return loads(kind, _decoded(envelope.payload), LIMITS.envelope_bytes)


def signed_bytes(kind: str, payload: bytes) -> bytes:
    """What a signature covers: DSSE's pre-authentication encoding of type and payload."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ProtocolError(f"Envelope: not base64 ({error})") from None
