"""The rollout service in this process, on a simulated clock.

Real: store (SQLite), controller, gates, keys, the TUF repository with its signatures, and the whole device
side of HTTP, routed, limited and answered by the service's own ASGI application. Left out: sockets, and the
operators' REST interface, in whose place `acclimate.rollout.operations` is called. Requests begin one after
the other, so nothing depends on the order of threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import functools
import random
from collections.abc import Coroutine, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate.rollout import operations
from acclimate.rollout.api.blocking import INLINE
from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.tokens import ENROLMENT_PREFIX, hash_token
from acclimate.rollout.application import Service, application
from acclimate.rollout.bodies import PlanBody
from acclimate.rollout.controller import Controller
from acclimate.rollout.domain.access import EnrolmentToken
from acclimate.rollout.domain.fleet import Fleet
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import Store, open_store
from acclimate.simulation.agenda import SimulatedClock
from acclimate.simulation.publishing import sign_repository
from acclimate.simulation.share import Answer, Call, Line
from acclimate.simulation.world import Files, RolloutStatus, release_of, summed
from acclimate_device.protocol import STATE_PATH, Release

_ACTOR = "simulation"
_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
Answered = TypeVar("Answered")
_WEEKS_S = 10 * 7 * 86_400.0


class LocalService:
    """A `World` on a simulated clock.

    Args:
        folder: an empty folder for the database, the key and the repository.
        versions: the bundles to publish.
        tick_s: simulated seconds between the controller's looks, as long as the story likes: nobody waits
            for a readiness, so a real service's bound says nothing here.
    """

    def __init__(
        self, folder: Path, versions: Sequence[Files], clock: SimulatedClock, tick_s: float, seed: int
    ) -> None:
        settings = ServiceSettings(
            home=folder,
            device_rate=0,
            report_bytes_rate=0,
            anonymous_rate=0,
            device_token_lifetime_s=_WEEKS_S,
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.clock, self.tick_s = clock, tick_s
        self.connect = Line
        self.root = sign_repository(versions, settings.tuf)
        rng = random.Random(f"{seed}/service")
        key = ServiceKey(Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)))
        self._store = open_store(settings.database)
        self._service = Service(settings, self._store, key, clock=clock)
        self._controller = Controller(self._store, _ACTOR, clock, lease_s=2 * tick_s)
        self._loop = asyncio.new_event_loop()
        # One request at a time: a thread for each blocking call was 60 % of the time, for nothing.
        self._context = contextvars.copy_context()
        self._context.run(INLINE.set, True)
        self._commits = self._loop.create_task(self._service.reports.run(), context=self._context)
        self._app = application(self._service)
        self.operator = LocalOperator(self._store, clock, rng, [release_of(files) for files in versions])
        self.refresh()

    def refresh(self) -> None:
        """Let the service take in what changed in its store."""
        self._run(self._service.refresh())

    def close(self) -> None:
        """End the service."""
        self._commits.cancel()
        self._loop.run_until_complete(asyncio.gather(self._commits, return_exceptions=True))
        self._loop.close()
        self._store.close()

    def serve(self, calls: list[Call]) -> list[Answer]:
        """Answer requests of devices, each at its own time."""
        return self._run(self._together(calls))

    async def _together(self, calls: list[Call]) -> list[Answer]:
        """Each runs on its turn until it waits for a commit, which all that wait share.

        A poll waits for nothing, so it goes straight to the application's endpoint.
        """
        given: list[Answer | asyncio.Task[Answer]] = []
        for call in calls:
            if call.path == STATE_PATH:
                self.clock.now = call.at
                given.append(_answer(call, self._service.state.answer(_scope(call))))
            else:
                given.append(asyncio.create_task(self._answered(call)))
        return [await one if isinstance(one, asyncio.Task) else one for one in given]

    async def _answered(self, call: Call) -> Answer:
        """What the application says; called on its turn, it sets the clock and runs as far as it can."""
        self.clock.now = call.at
        return _answer(call, await self._exchange(_scope(call), call.body or b""))

    async def _exchange(self, scope: dict[str, Any], body: bytes) -> _Answer:
        answer: dict[str, Any] = {}
        chunks: list[bytes] = []
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                return await asyncio.Future()  # the client stays: no disconnect
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.update(message)
            else:
                chunks.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return answer["status"], answer["headers"], b"".join(chunks)

    def _run(self, work: Coroutine[Any, Any, Answered]) -> Answered:
        """Let the service do something, and nothing beside it."""
        return self._loop.run_until_complete(self._loop.create_task(work, context=self._context))

    def look(self) -> None:
        """Let the controller look once, and every device be told what follows."""
        self._run(self._service.write_taken())
        self._controller.tick()
        self.refresh()


def _answer(call: Call, answer: _Answer) -> Answer:
    status, given, data = answer
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in given}
    return status, {"date": _date(int(call.at)), **found}, data


@functools.lru_cache(1)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _scope(call: Call) -> dict[str, Any]:
    given = [(name.lower().encode(), value.encode()) for name, value in call.headers.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [*given, (b"content-length", str(len(call.body or b"")).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


class LocalOperator:
    """An `Operator` on the service's own operations."""

    def __init__(
        self, store: Store, clock: SimulatedClock, rng: random.Random, versions: Sequence[Release]
    ) -> None:
        self._store, self._clock, self._rng, self._versions = store, clock, rng, versions

    def add_fleet(self, name: str, poll_s: float) -> None:
        self._store.add_fleet(Fleet(name, self._clock(), poll_interval_s=poll_s), _ACTOR)

    def set_baseline(self, fleet: str, release: Release) -> None:
        self._store.set_baseline(fleet, "", release, self._clock(), _ACTOR)

    def enrolment_token(self, fleet: str, devices: int) -> str:
        token = ENROLMENT_PREFIX + self._rng.randbytes(32).hex()
        kept = hash_token(token)
        now = self._clock()
        record = EnrolmentToken(kept[:12], fleet, kept, now, _ACTOR, devices, expires_at=now + _WEEKS_S)
        self._store.add_enrolment_token(record, _ACTOR)
        return token

    def roll_out(self, fleet: str, plan: PlanBody) -> str:
        release = next(one for one in self._versions if f"{one.name}@{one.version}" == plan.release)
        now = self._clock()
        drafted = operations.draft(self._store, plan.plan(fleet, release), _ACTOR, now, self._draw_id)
        operations.operate(self._store, drafted.id, "start", _ACTOR, "", now)
        return drafted.id

    def _draw_id(self) -> str:
        return f"r-{self._rng.randbytes(5).hex()}"

    def status(self, rollout: str) -> RolloutStatus:
        found = self._store.rollout(rollout)
        decisions = self._store.decisions(rollout, 1)
        return RolloutStatus(found.state.value, found.wave, decisions[0].reason if decisions else "")

    def counted(self, fleet: str) -> dict[str, float]:
        return summed([dataclasses.asdict(one) for one in self._store.counts(fleet)])
