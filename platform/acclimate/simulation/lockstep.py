"""A fleet on a simulated clock: its devices divided over processes, the service in this one.

Time goes on in steps, none longer than to the controller's next look. In a step every device lives by itself,
and the service answers what they ask in rounds, each in the order of the simulated times at which they ask.
The order in which anything happens thus follows from the scenario, and never from the number of processes or
their speed; and reports that come in one round share a commit, as those of a real fleet do.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from acclimate.errors import ScenarioError
from acclimate.simulation.agenda import SimulatedClock
from acclimate.simulation.device import Equipment
from acclimate.simulation.events import Tell
from acclimate.simulation.garbage import Garbage
from acclimate.simulation.outcome import Outcome
from acclimate.simulation.scenario import Scenario
from acclimate.simulation.share import LANES, Answer, Call, Share
from acclimate.simulation.streams import Streams, open_streams

_DEVICES = "acclimate_device"
_ROUND = 1_000
"""Devices that ask in one round, about: each that waits takes some memory."""


@runtime_checkable
class SteppedService(Protocol):
    """A service whose time stands still but for `look`."""

    @property
    def clock(self) -> SimulatedClock:
        """Of the service."""

    @property
    def tick_s(self) -> float:
        """Seconds between two looks of its controller."""

    def serve(self, calls: list[Call]) -> list[Answer]:
        """Answer devices, each at its own time."""

    def look(self) -> None:
        """Let the controller look once."""


class LockstepFleet:
    """The devices of a scenario on a simulated clock; see `Fleet`.

    Args:
        service: that answers them.
        processes: over which they are divided; with one, they live in this process.
    """

    def __init__(
        self,
        scenario: Scenario,
        streams: Streams,
        equipment: Equipment,
        service: SteppedService,
        tell: Tell,
        processes: int,
    ) -> None:
        self._service, self._tell = service, tell
        self._now = self._look_at = service.clock()
        self._outcome = Outcome(scenario.name, scenario.seed, self._now)
        busy = _ROUND * min(scenario.service.poll, scenario.stream.every) / scenario.devices
        self._step_s = min(max(busy, 1.0), service.tick_s)
        count = min(processes, scenario.devices)
        numbers = [range(one, scenario.devices, count) for one in range(count)]
        self._seats: list[_Here | _Elsewhere] = (
            [_Here(Share(scenario, streams, equipment, numbers[0], self._now))]
            if count == 1
            else [_Elsewhere(scenario, equipment, some, self._now) for some in numbers]
        )

    def __enter__(self) -> LockstepFleet:
        self._garbage = Garbage()
        return self

    def __exit__(self, *_: object) -> None:
        self._garbage.leave()
        for seat in self._seats:
            seat.close()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self._now + seconds
        while self._now < until:
            self._now = min(until, self._look_at, self._now + self._step_s)
            self._in_rounds("live", self._now)
            self._service.clock.now = self._now
            self._hear()
            self._garbage.step()
            if self._now >= self._look_at:
                self._service.look()
                self._look_at += self._service.tick_s

    def stop(self) -> None:
        """Switch every device off in good order; reports wait on the devices until `hand_in`."""
        self._of_all("stop", self._now)
        self._hear()
        self._outcome.duration_s = self._now - self._outcome.started_at

    def hand_in(self) -> None:
        """After `stop`, send every report that waits, whatever the spells."""
        self._in_rounds("hand_in", self._now)

    def outcome(self) -> Outcome:
        """What came of it: after `hand_in`, with what each device would run if it started again."""
        outcome = self._outcome
        found = [one for some in self._of_all("outcomes") for one in some]
        found.sort(key=lambda one: one[0].number)
        outcome.devices = [device for device, _, _ in found]
        outcome.acknowledged = sum(acknowledged for _, acknowledged, _ in found)
        outcome.requests = sum(requests for _, _, requests in found)
        for happening in outcome.happenings:
            if happening.report is not None:
                outcome.devices[happening.device].reports.append((happening.at, happening.report))
        return outcome

    def _in_rounds(self, what: str, until: float) -> None:
        """Let all devices do something, and answer until none asks any more."""
        lanes = {lane: [seat.ask(what, lane, until) for seat in self._seats] for lane in range(LANES)}
        while lanes:
            for lane in list(lanes):
                asked = [given() for given in lanes[lane]]
                calls = sorted((call for calls in asked for call in calls), key=lambda call: call[:2])
                if not calls:
                    del lanes[lane]
                    continue
                answers = {
                    call.device: answer
                    for call, answer in zip(calls, self._service.serve(calls), strict=True)
                }
                lanes[lane] = [
                    seat.ask("go_on", [(call.device, answers[call.device]) for call in calls])
                    for seat, calls in zip(self._seats, asked, strict=True)
                ]

    def _of_all(self, what: str, *given: Any) -> list[Any]:
        return [result() for result in [seat.ask(what, *given) for seat in self._seats]]

    def _hear(self) -> None:
        """Take in and tell what happened."""
        told = [happening for some in self._of_all("told") for happening in some]
        for happening in sorted(told, key=lambda one: (one.at, one.device)):
            self._outcome.happenings.append(happening)
            self._tell(happening)


class _Here:
    """A share in this process."""

    def __init__(self, share: Share) -> None:
        self._share = share

    def ask(self, what: str, *given: Any) -> Callable[[], Any]:
        result = getattr(self._share, what)(*given)
        return lambda: result

    def close(self) -> None:
        """Nothing."""


class _Elsewhere:
    """A share in a process of its own."""

    def __init__(self, scenario: Scenario, equipment: Equipment, numbers: range, started_at: float) -> None:
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),  # the runtimes here have threads: no fork
            initializer=_settle,
            initargs=(scenario, equipment, numbers, started_at, logging.getLogger(_DEVICES).level),
        )
        # Ctrl-C is for who starts the process, and ends it in good order: the mask is passed on.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def ask(self, what: str, *given: Any) -> Callable[[], Any]:
        with _alive():
            future = self._pool.submit(_do, what, given)

        def result() -> Any:
            with _alive():
                return future.result()

        return result

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise ScenarioError(
            "a process of the simulation ended before its time. The system does so where memory is short: "
            "simulate fewer devices, or use --processes 1. And a script that simulates must do so below "
            "`if __name__ == '__main__':`, for each process imports it"
        ) from None


_SETTLED: list[tuple[Share, Garbage]] = []
"""The share that lives in this process, where it was started for one."""


def _settle(
    scenario: Scenario, equipment: Equipment, numbers: range, started_at: float, log_level: int
) -> None:
    logging.getLogger(_DEVICES).setLevel(log_level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share = Share(scenario, open_streams(scenario.stream), equipment, numbers, started_at)
    _SETTLED.append((share, Garbage()))


def _end_with_parent() -> None:
    """Whoever started us may be killed, and would leave us waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _do(what: str, given: tuple[Any, ...]) -> Any:
    [(share, garbage)] = _SETTLED
    if what == "told":  # a step has ended
        garbage.step()
    return getattr(share, what)(*given)
