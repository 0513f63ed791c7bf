"""`/device/v1/round`, what is below it, and contributions: what devices ask whose owners agreed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.roster import Section
from acclimate.rollout.api.rounds import RoundDesk
from acclimate.rollout.api.state import Gatekeeper, asked_by
from acclimate.rollout.domain.fleet import Member as Enrolled
from acclimate.rollout.domain.secure_round import SecureRound
from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import (
    CONTRIBUTION_PATH,
    DEALING_PATH,
    JOINING_PATH,
    LIMITS,
    ROUND_PATH,
    TURN_PATH,
    UNMASKING_PATH,
    Contribution,
    Dealing,
    Member,
    PublicKey,
    Release,
    Unmasking,
    dumps,
    loads,
    seal,
)

Message = TypeVar("Message")


class ContributionSide:
    """Handlers; a device's fleet and release are what its token and assignment say, never what it claims."""

    def __init__(self, gatekeeper: Gatekeeper, rounds: RoundDesk, key: ServiceKey) -> None:
        self._gatekeeper, self._rounds, self._key = gatekeeper, rounds, key
        self._key_id = PublicKey.of(key.public_bytes).key_id

    def routes(self) -> list[Route]:
        """Starlette routes."""
        return [
            Route(ROUND_PATH, self.round, methods=["GET"]),
            Route(CONTRIBUTION_PATH, self.contribute, methods=["POST"]),
            Route(TURN_PATH, self.turn, methods=["GET"]),
            Route(JOINING_PATH, self.join, methods=["POST"]),
            Route(DEALING_PATH, self.deal, methods=["POST"]),
            Route(UNMASKING_PATH, self.unmask, methods=["POST"]),
        ]

    async def round(self, request: Request) -> Response:
        """What is asked of this device now, signed; 204 where nothing is."""
        access, section, member = self._gatekeeper.admit(*asked_by(request))
        asked = self._rounds.asked(access.fleet, access.device, _runs(section, member))
        if asked is None:
            return Response(status_code=204)
        body = dumps(seal(asked.round(), self._key.sign, self._key_id))
        headers = {"Cache-Control": "no-store"}
        return Response(body, headers=headers, media_type="application/json")

    async def contribute(self, request: Request) -> Response:
        """What this device gives; 204 once it counts."""
        access, section, member = self._gatekeeper.admit(*asked_by(request))
        given = await _sent(request, Contribution, 6 * LIMITS.contribution_numbers + 1024)
        await self._rounds.take(access.fleet, access.device, given, _runs(section, member))
        return Response(status_code=204)

    async def turn(self, request: Request) -> Response:
        """What a round that hides contributions wants of this device; 204 where nothing, or no more."""
        access, section, member = self._gatekeeper.admit(*asked_by(request))
        turn = self._rounds.turn(access.fleet, access.device, _runs(section, member))
        if turn is None:
            return Response(status_code=204)
        headers = {"Cache-Control": "no-store"}
        return Response(dumps(turn), headers=headers, media_type="application/json")

    async def join(self, request: Request) -> Response:
        """This device's keys for such a round."""

        def join(secure: SecureRound, device: str, enrolled: Enrolled, given: Member) -> None:
            secure.join(device, PublicKey.of(enrolled.public_key).ed25519, given)

        return await self._hand_in(request, Member, lambda given: given.joining.round, join)

    async def deal(self, request: Request) -> Response:
        """Shares of this device's secrets for its group."""
        return await self._hand_in(
            request,
            Dealing,
            lambda given: given.round,
            lambda secure, device, _, given: secure.deal(device, given),
        )

    async def unmask(self, request: Request) -> Response:
        """What takes the masks off the sum."""
        return await self._hand_in(
            request,
            Unmasking,
            lambda given: given.round,
            lambda secure, device, _, given: secure.unmask(device, given),
        )

    async def _hand_in(
        self,
        request: Request,
        kind: type[Message],
        round_of: Callable[[Message], str],
        act: Callable[[SecureRound, str, Enrolled, Message], None],
    ) -> Response:
        """Let a device take its turn with a message of `kind`."""
        access, section, member = self._gatekeeper.admit(*asked_by(request))
        given = await _sent(request, kind, LIMITS.turn_bytes)
        await self._rounds.answer(
            access.fleet,
            access.device,
            round_of(given),
            _runs(section, member),
            lambda secure: act(secure, access.device, member, given),
        )
        return Response(status_code=204)


async def _sent(request: Request, kind: type[Message], most: int) -> Message:
    body = await request.body()
    Gatekeeper.check_body(asked_by(request)[0], body)
    try:
        return loads(kind, body, most)
    except ProtocolError as error:
        raise ProblemError(400, "malformed", str(error)) from None


def _runs(section: Section, member: Enrolled) -> Release | None:
    """What the device should run; one that holds while a rollout is paused runs what it is not told here."""
    return section.assignment(member).release
