"""Devices on clocks of their own that take turns in one process.

Between two looks of the service no device notices another: each lives by its own clock until it asks the
service for something, and waits there while the others go on. What waits is a `Call`; whoever holds the
service answers many of them at once, in the order of their times.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet

from acclimate.simulation.agenda import Agenda, SimulatedClock
from acclimate.simulation.conditions import conditions, dice
from acclimate.simulation.device import Equipment, SimulatedDevice, handed_in
from acclimate.simulation.events import Happening
from acclimate.simulation.outcome import DeviceOutcome
from acclimate.simulation.scenario import Scenario
from acclimate.simulation.streams import Streams
from acclimate_device.agent import Response
from acclimate_device.errors import TransportError

LANES = 2
"""Parts that go on in turn: while the service answers one, the other's devices live."""
_TRIES = 200
"""To hand in over a network that loses requests."""


class Call(NamedTuple):
    """What a device asks of the service, and when."""

    at: float
    device: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


class Line:
    """The connection of a device that takes turns: while it waits for an answer, the others go on."""

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        others = getcurrent().parent
        status, found, data = others.switch((method, path, dict(headers), body))
        if len(data) > max_bytes:
            raise TransportError(f"{method} {path}: the answer is longer than {max_bytes} bytes")
        return Response(status, found, data)


class _Life:
    """A device, its clock, what it has before it, and where it is in it."""

    def __init__(self, started_at: float, make: Callable[[SimulatedClock, Agenda], SimulatedDevice]) -> None:
        self.clock, self.agenda = SimulatedClock(started_at), Agenda()
        self.device = make(self.clock, self.agenda)
        self.agenda.enter(started_at + self.device.lot.arrives_s, self.device.arrive)
        self._turn: Any = None

    def begin(self, work: Callable[..., None], *given: Any) -> Call | None:
        """Do `work`; the first thing it asks of the service, None once it is done."""
        self._turn = greenlet(work)
        return self._go(*given)

    def go_on(self, answer: Answer) -> Call | None:
        return self._go(answer)

    def live(self, until: float) -> None:
        self.agenda.advance(self.clock, until)

    def hand_in(self, now: float) -> None:
        self.clock.now = now
        device = self.device
        if device.device is not None and device.device_id:
            any(handed_in(device) for _ in range(_TRIES))

    def _go(self, *given: Any) -> Call | None:
        asked = self._turn.switch(*given)
        if self._turn.dead:
            self._turn = None
            return None
        return Call(self.clock.now, self.device.number, *asked)


class Share:
    """Some of a scenario's devices.

    Args:
        numbers: of them.
    """

    def __init__(
        self,
        scenario: Scenario,
        streams: Streams,
        equipment: Equipment,
        numbers: Iterable[int],
        started_at: float,
    ) -> None:
        self._told: list[Happening] = []
        self._lives: dict[int, _Life] = {}
        self._due: list[list[tuple[float, int]]] = [[] for _ in range(LANES)]
        for number in numbers:

            def make(clock: SimulatedClock, agenda: Agenda, number: int = number) -> SimulatedDevice:
                feed = streams.feed(number, dice(scenario.seed, number, "feed"))
                lot = conditions(scenario, number)
                tell, enter = self._told.append, agenda.enter
                return SimulatedDevice(number, scenario, lot, feed, equipment, clock, started_at, enter, tell)

            self._lives[number] = _Life(started_at, make)
            self._await(number)

    def live(self, lane: int, until: float) -> list[Call]:
        """Let the devices of a lane live until then; the first thing that each of them asks."""
        due, calls = self._due[lane], []
        while due and due[0][0] <= until:
            life = self._lives[heapq.heappop(due)[1]]
            calls.append(life.begin(life.live, until))
            self._await_unless(calls[-1], life)
        return [call for call in calls if call is not None]

    def hand_in(self, lane: int, now: float) -> list[Call]:
        """Let the devices of a lane send every report that waits; the first thing that each of them asks."""
        lives = [life for number, life in self._lives.items() if number % LANES == lane]
        calls = [life.begin(life.hand_in, now) for life in lives]
        return [call for call in calls if call is not None]

    def go_on(self, answers: Sequence[tuple[int, Answer]]) -> list[Call]:
        """Let devices go on with what they asked for; the next thing that each of them asks."""
        calls = []
        for number, answer in answers:
            life = self._lives[number]
            call = life.go_on(answer)
            calls.append(call)
            self._await_unless(call, life)
        return [call for call in calls if call is not None]

    def told(self) -> list[Happening]:
        """What happened since the last time."""
        told = self._told.copy()
        self._told.clear()
        return told

    def stop(self, now: float) -> None:
        """Switch every device off in good order."""
        for life in self._lives.values():
            life.clock.now = now
            life.device.stop()

    def outcomes(self) -> list[tuple[DeviceOutcome, int, int]]:
        """Of each device, once it is switched off: what it would run, reports acknowledged, and requests."""
        found = []
        for number, life in self._lives.items():
            outcome = DeviceOutcome(number)
            life.device.describe(outcome, restarted=True)
            network = life.device.network
            found.append((outcome, len(network.acknowledged), network.requests))
        return found

    def _await_unless(self, call: Call | None, life: _Life) -> None:
        if call is None:
            self._await(life.device.number)

    def _await(self, number: int) -> None:
        due = self._lives[number].agenda.due
        if due is not None:
            heapq.heappush(self._due[number % LANES], (due, number))
