"""Proofs of key possession: opening the envelopes in which devices enrol and ask for tokens.

Order matters: size, form, signature, then what is inside. Nothing inside is used before the signature held.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.problems import ProblemError, why_unavailable
from acclimate_device.errors import ProtocolError, UntrustedError
from acclimate_device.protocol import (
    LIMITS,
    Enrolment,
    Envelope,
    KeyChange,
    PublicKey,
    TokenRequest,
    loads,
    unseal,
    unverified,
)

Claim = TypeVar("Claim")


def open_enrolment(body: bytes) -> Enrolment:
    """The enrolment inside `body`, signed by the key it brings.

    Raises:
        ProblemError: 400 or 401.
    """
    envelope = read_envelope(body)
    try:
        claimed = unverified(envelope, Enrolment)
        return unseal(envelope, Enrolment, trusting(claimed.public_key))
    except UntrustedError as error:
        raise ProblemError(401, "signature-invalid", str(error)) from None
    except (ProtocolError, ValueError) as error:
        raise ProblemError(400, "malformed", str(error)) from None


def read_claim(body: bytes, kind: type[Claim]) -> Claim:
    """What `body` claims, before anything is checked: only to learn whose key to check it with.

    Raises:
        ProblemError: 400.
    """
    try:
        return unverified(read_envelope(body), kind)
    except ProtocolError as error:
        raise ProblemError(400, "malformed", str(error)) from None


def open_token_request(body: bytes, key: PublicKey) -> TokenRequest:
    """The token request inside `body`, signed by its device's `key`.

    Raises:
        ProblemError: 400 or 401.
    """
    try:
        return unseal(read_envelope(body), TokenRequest, trusting(key))
    except UntrustedError as error:
        raise ProblemError(401, "signature-invalid", str(error)) from None
    except ProtocolError as error:
        raise ProblemError(400, "malformed", str(error)) from None


def open_key_change(body: bytes, current: PublicKey) -> KeyChange:
    """The change of keys inside `body`, signed by the device's `current` key and by the new one.

    Raises:
        ProblemError: 400 or 401.
    """
    envelope = read_envelope(body)
    try:
        message = unseal(envelope, KeyChange, trusting(current))
        return unseal(envelope, KeyChange, trusting(message.public_key))
    except UntrustedError as error:
        raise ProblemError(401, "signature-invalid", str(error)) from None
    except (ProtocolError, ValueError) as error:
        raise ProblemError(400, "malformed", str(error)) from None


def read_envelope(body: bytes) -> Envelope:
    """The envelope in a request's body.

    Raises:
        ProblemError: 400, naming what does not fit.
    """
    try:
        return loads(Envelope, body, LIMITS.envelope_bytes)
    except ProtocolError as error:
        raise ProblemError(400, "malformed", str(error)) from None


def trusting(key: PublicKey) -> Callable[[str, bytes, bytes], bool]:
    """A verifier that trusts exactly one key."""

    def verify(key_id: str, message: bytes, signature: bytes) -> bool:
        if key_id != key.key_id:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify


class Freshness:
    """Accepts each proof once, while it is fresh.

    A repeat is refused from memory, so that whoever repeats one costs the database nothing; that no other
    replica has accepted it, nor this one before it restarted, the store knows.

    Args:
        spend: remembers a device's nonce until a moment; False where it is known already. It blocks.
        audience: id of this service's key; a proof made for another service is refused.
        clock: Unix seconds.
        max_nonces: nonces remembered; more fresh ones than that are refused rather than forgotten.
    """

    def __init__(
        self,
        audience: str,
        clock: Callable[[], float],
        spend: Callable[[str, str, float], bool],
        max_nonces: int = 500_000,
    ) -> None:
        self._audience, self._clock, self._spend, self._max_nonces = audience, clock, spend, max_nonces
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def take(self, request: TokenRequest | KeyChange) -> None:
        """Use the proof up.

        Raises:
            ProblemError: 401 for another audience, a clock too far off or a nonce seen before; 503 when too
                many are fresh at once, or the store cannot say.
        """
        now = self._clock()
        if request.audience != self._audience:
            detail = f"made for the service key {request.audience[:12]}…, this is {self._audience[:12]}…"
            raise ProblemError(401, "signature-invalid", detail)
        if not abs(now - request.issued_at) <= LIMITS.clock_skew_s:
            detail = f"issued_at is {now - request.issued_at:+.0f} s off: set the clock by the Date header"
            raise ProblemError(401, "clock-skew", detail)
        while self._seen and not 0 <= next(iter(self._seen.values())) - now <= 2 * LIMITS.clock_skew_s:
            self._seen.popitem(last=False)  # stale; or of a clock that was ahead, as nothing is taken now
        nonce = (request.device_id, request.nonce)
        if nonce in self._seen:
            raise _reused()
        if len(self._seen) >= self._max_nonces:
            raise ProblemError(503, "unavailable", "too many devices ask at once", {"Retry-After": "60"})
        expires_at = self._seen[nonce] = now + 2 * LIMITS.clock_skew_s
        try:
            fresh = await in_thread(self._spend, *nonce, expires_at)
        except Exception as error:
            del self._seen[nonce]  # the device may try the same again
            raise ProblemError(503, "unavailable", why_unavailable(error), {"Retry-After": "10"}) from error
        if not fresh:
            raise _reused()


def _reused() -> ProblemError:
    return ProblemError(401, "nonce-reused", "ask again with a new nonce")
