"""The credentials the service hands out, and how it knows them again.

Operators' and enrolment tokens are random (256 bits), shown once and kept only as SHA-256: with that much
entropy a slow password hash would add nothing but load. Devices' access tokens are not kept at all: they
carry fleet, device, epoch and expiry under a MAC, so that a poll is checked in memory.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import IntEnum

API_PREFIX = "acl_"
ENROLMENT_PREFIX = "ace_"


class Role(IntEnum):
    """What an operator may do; each role may do all that the ones before it may."""

    viewer = 1  # read
    operator = 2  # fleets, devices, enrolment tokens, rollouts
    admin = 3  # API tokens, the audit log


def new_token(prefix: str) -> tuple[str, str]:
    """A new random token.

    Returns:
        the token, to be shown once, and the hash to be kept.
    """
    token = prefix + secrets.token_urlsafe(32)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """What is kept of a token: its SHA-256 in hex. Look-ups compare hashes, never tokens, so their timing
    tells nothing about a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Access:
    """What a device's access token says: which device of which fleet, and until when (Unix seconds)."""

    fleet: str
    device: str
    epoch: int
    expires_at: int


class AccessTokens:
    """Issues and checks devices' bearer tokens under one secret, shared by all replicas.

    A token is `base64url(fleet NUL device NUL epoch NUL expiry)` + `.` + MAC. A device's epoch rises when
    it is blocked or enrolled anew, which ends the tokens issued before.

    Args:
        kept: tokens whose content is remembered: devices show the same one at every request.
    """

    def __init__(self, secret: bytes, kept: int = 20_000) -> None:
        self._secret = secret
        self._opened = functools.lru_cache(kept)(self._open)

    def issue(self, access: Access) -> str:
        """A token for `access`."""
        payload = "\0".join((access.fleet, access.device, str(access.epoch), str(access.expires_at)))
        body = _encode(payload.encode())
        return f"{body}.{_encode(self._mac(body))}"

    def check(self, token: str, now: float) -> Access | None:
        """Who holds `token`, or None where it is forged, damaged or expired."""
        try:
            access = self._opened(token)
        except ValueError:
            return None
        return access if now < access.expires_at else None

    def _open(self, token: str) -> Access:
        """Its content. A forged one raises, and is not remembered: it would take a genuine one's place."""
        body, _, mac = token.partition(".")
        if not hmac.compare_digest(_decode(mac), self._mac(body)):
            raise ValueError("forged or damaged")
        fleet, device, epoch, expires_at = _decode(body).decode().split("\0")
        return Access(fleet, device, int(epoch), int(expires_at))

    def _mac(self, body: str) -> bytes:
        return hmac.digest(self._secret, body.encode(), "sha256")


def bearer(authorization: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header, or None."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
