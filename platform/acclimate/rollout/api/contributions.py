"""`GET /device/v1/round` and `POST /device/v1/contributions`: what devices ask whose owners agreed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.roster import Section
from acclimate.rollout.api.rounds import RoundDesk
from acclimate.rollout.api.state import Gatekeeper
from acclimate.rollout.domain.fleet import Member
from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import (
    CONTRIBUTION_PATH,
    LIMITS,
    ROUND_PATH,
    Contribution,
    PublicKey,
    Release,
    dumps,
    loads,
    seal,
)


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
        ]

    async def round(self, request: Request) -> Response:
        """What is asked of this device now, signed; 204 where nothing is."""
        access, section, member = self._gatekeeper.admit(_authorization(request))
        asked = self._rounds.asked(access.fleet, access.device, _runs(section, member))
        if asked is None:
            return Response(status_code=204)
        body = dumps(seal(asked.round(), self._key.sign, self._key_id))
        headers = {"Cache-Control": "no-store"}
        return Response(body, headers=headers, media_type="application/json")

    async def contribute(self, request: Request) -> Response:
        """What this device gives; 204 once it counts."""
        access, section, member = self._gatekeeper.admit(_authorization(request))
        try:
            given = loads(Contribution, await request.body(), 6 * LIMITS.contribution_numbers + 1024)
        except ProtocolError as error:
            raise ProblemError(400, "malformed", str(error)) from None
        await self._rounds.take(access.fleet, access.device, given, _runs(section, member))
        return Response(status_code=204)


def _runs(section: Section, member: Member) -> Release | None:
    """What the device should run; one that holds while a rollout is paused runs what it is not told here."""
    return section.assignment(member).release


def _authorization(request: Request) -> bytes:
    return request.headers.get("authorization", "").encode("latin-1")
