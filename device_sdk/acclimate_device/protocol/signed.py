"""A request that its device signs instead of showing a bearer token: for where others read what travels.

`Authorization: Acclimate DEVICE;SECONDS;DIGEST;SIGNATURE`. The digest is the SHA-256 of the body, empty
without one; the signature is of the device's key, over these, the method, the path and the service it is for;
both are base64url. Whoever repeats such a request repeats that one and no other, and whatever this protocol
authorizes means the same when it comes again: reports count once by their ids, the rest reads.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from acclimate_device.protocol.envelope import Sign, signed_bytes

SCHEME = "Acclimate"
_KIND = "application/vnd.acclimate.request.v1"


@dataclass(frozen=True)
class SignedRequest:
    """What such an `Authorization` header says.

    Attributes:
        device_id: who asks.
        issued_at: Unix seconds on the device's clock.
        digest: of the body.
        signature: 64 raw bytes.
    """

    device_id: str
    issued_at: int
    digest: str
    signature: bytes = b""

    @staticmethod
    def read(authorization: str) -> SignedRequest | None:
        """What a header says; None for one of another scheme or form."""
        scheme, _, said = authorization.partition(" ")
        parts = said.strip().split(";")
        if scheme.lower() != SCHEME.lower() or len(parts) != 4:
            return None
        device_id, issued_at, digest, signature = parts
        if not (issued_at.isascii() and issued_at.isdigit() and len(issued_at) < 12):
            return None
        try:
            raw = base64.b64decode(signature + "=" * (-len(signature) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        return SignedRequest(device_id, int(issued_at), digest, raw)

    def covers(self, audience: str, method: str, path: str) -> bytes:
        """What is signed.

        Args:
            audience: id of the service key that the device trusts.
            method, path: of the request, the path from `/device/` on.
        """
        parts = (audience, method, path, self.device_id, str(self.issued_at), self.digest)
        return signed_bytes(_KIND, "\n".join(parts).encode())


def sign_request(
    device_id: str, audience: str, now: float, method: str, path: str, body: bytes | None, sign: Sign
) -> str:
    """The `Authorization` header of a request at `now`, in Unix seconds."""
    said = SignedRequest(device_id, max(0, int(now)), digest_of(body))
    signature = _base64(sign(said.covers(audience, method, path)))
    return f"{SCHEME} {device_id};{said.issued_at};{said.digest};{signature}"


def digest_of(body: bytes | None) -> str:
    """As a header has it."""
    return _base64(hashlib.sha256(body).digest()) if body else ""


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
