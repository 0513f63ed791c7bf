"""How a device joins and proves itself: `/device/v1/enrolments`, `tokens` and `keys`.

A device's id follows from its first key, so enrolling again with the same key gives the same device, and no
device can take another's id.
"""

from __future__ import annotations

import time

from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.machines import MachineDesk
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.proofs import (
    Freshness,
    open_enrolment,
    open_key_change,
    open_token_request,
    read_claim,
)
from acclimate.rollout.api.roster import Roster
from acclimate.rollout.api.tokens import Access, AccessTokens, hash_token
from acclimate.rollout.domain.fleet import Device, Member
from acclimate.rollout.store import ConflictError, EnrolmentRefusedError, NotFoundError, Store
from acclimate_device.protocol import Enrolled, KeyChange, PublicKey, Token, TokenRequest

GOOD_S = 5.0


def device_id(key: PublicKey) -> str:
    """The id of the device that holds `key`: 80 bits of its hash."""
    return f"d-{key.key_id[:20]}"


class EnrolmentDesk:
    """Lets devices in and gives them bearer tokens.

    Args:
        lifetime_s: how long a bearer token holds.
    """

    def __init__(
        self,
        store: Store,
        roster: Roster,
        key: ServiceKey,
        tokens: AccessTokens,
        freshness: Freshness,
        machines: MachineDesk,
        lifetime_s: float,
    ) -> None:
        self._store, self._roster, self._tokens, self._freshness = store, roster, tokens, freshness
        self._machines = machines
        self._service_key = PublicKey.of(key.public_bytes)
        self._lifetime_s = lifetime_s
        self._good: set[str] = set()
        self._good_at = float("-inf")

    async def enrol(self, body: bytes, now: float, sparing: bool = False) -> Enrolled:
        """Spend a use of the enrolment token and let the device in.

        Args:
            sparing: refuse tokens that are not known to be good before the database is asked.

        Raises:
            ProblemError: 400, 401, 403, or 429 when `sparing`.
        """
        enrolment = open_enrolment(body)
        if sparing and hash_token(enrolment.token) not in await self._good_tokens(now):
            raise _try_later()
        device = Device(
            fleet="",  # the token's
            id=device_id(enrolment.public_key),
            public_key=enrolment.public_key.raw.hex(),
            enrolled_at=now,
            attributes=enrolment.attributes,
            hardware_id=enrolment.hardware_id,
            sdk=enrolment.sdk,
        )
        try:
            device = await in_thread(self._store.enrol, hash_token(enrolment.token), device, now)
        except (EnrolmentRefusedError, ConflictError) as error:
            raise ProblemError(403, "enrolment-refused", str(error)) from None
        if device.retired_at is not None:
            raise _retired(device.id)
        self._roster.enrolled(device)
        return Enrolled(device.id, device.fleet, (self._service_key,))

    async def token(self, body: bytes, now: float, sparing: bool = False) -> Token:
        """Give a bearer token to a device that proves its key.

        Args:
            sparing: look for the device in memory alone.

        Raises:
            ProblemError: 400, 401, 403, or 429 when `sparing`.
        """
        fleet, member = await self._member(read_claim(body, TokenRequest).device_id, sparing)
        request = open_token_request(body, PublicKey.of(member.public_key))
        if member.retired:
            raise _retired(member.id)
        await self._freshness.take(request)
        await self._machines.asks(fleet, member.id, request.start, now)
        member = await self._updated(fleet, member, request, now)
        access = Access(fleet, member.id, member.epoch, int(now + self._lifetime_s))
        return Token(self._tokens.issue(access), self._lifetime_s)

    async def change_key(self, body: bytes, now: float, sparing: bool = False) -> None:
        """Let a device that proves its key and another one go over to that; its bearer tokens end.

        Args:
            sparing: look for the device in memory alone.

        Raises:
            ProblemError: 400, 401, 403, or 429 when `sparing`.
        """
        fleet, member = await self._member(read_claim(body, KeyChange).device_id, sparing)
        change = open_key_change(body, PublicKey.of(member.public_key))
        if member.retired:
            raise _retired(member.id)
        await self._freshness.take(change)
        key = change.public_key.raw.hex()
        try:
            device = await in_thread(self._store.change_key, fleet, member.id, key, now)
        except ConflictError as error:
            raise ProblemError(403, "enrolment-refused", str(error)) from None
        self._roster.enrolled(device)

    async def _good_tokens(self, now: float) -> set[str]:
        """Hashes of the enrolment tokens that still let somebody in, as they were a few seconds ago."""
        if time.monotonic() - self._good_at > GOOD_S:
            self._good_at = time.monotonic()
            self._good = await in_thread(self._read_good_tokens, now)
        return self._good

    def _read_good_tokens(self, now: float) -> set[str]:
        return {
            one.hash
            for fleet in self._store.fleets()
            for one in self._store.enrolment_tokens(fleet.name)
            if one.revoked_at is None and one.used < one.quota and (one.expires_at or now + 1) > now
        }

    async def _member(self, device_id: str, sparing: bool) -> tuple[str, Member]:
        """A device by its id alone, and its fleet; 429 for one that memory does not know when `sparing`."""
        found = self._roster.find_anywhere(device_id)
        if found is None and sparing:
            raise _try_later()
        if found is None:  # it may have enrolled with another replica a moment ago
            await self._roster.refresh()
            found = self._roster.find_anywhere(device_id)
        if found is not None:
            return found[0].fleet.name, found[1]
        for fleet in self._roster.sections:  # devices that were retired long ago are kept in the store alone
            try:
                device = await in_thread(self._store.device, fleet, device_id)
            except NotFoundError:
                continue
            return fleet, self._roster.enrolled(device)
        detail = f"no device {device_id!r} is enrolled: enrol it first"
        raise ProblemError(401, "signature-invalid", detail)

    async def _updated(self, fleet: str, member: Member, request: TokenRequest, now: float) -> Member:
        """The device with the attributes it sent; the store is asked only when they differ."""
        if not request.attributes or request.attributes == member.attributes:
            return member
        who, sdk = f"device {member.id}", request.sdk or None
        changed = await in_thread(
            self._store.set_attributes, fleet, member.id, request.attributes, now, who, sdk
        )
        return self._roster.enrolled(changed)


def _try_later() -> ProblemError:
    detail = "too many enrolments fail from this address: try again in 5 s"
    return ProblemError(429, "rate-limited", detail, {"Retry-After": "5"})


def _retired(device_id: str) -> ProblemError:
    return ProblemError(403, "device-retired", f"device {device_id} was retired: stop polling")
