"""A fleet of simulated devices in threads, on the wall clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from acclimate.errors import ScenarioError
from acclimate.simulation.agenda import Agenda
from acclimate.simulation.conditions import conditions, dice
from acclimate.simulation.device import Equipment, SimulatedDevice, handed_in
from acclimate.simulation.events import Happening, Tell
from acclimate.simulation.outcome import DeviceOutcome, Outcome
from acclimate.simulation.scenario import Scenario
from acclimate.simulation.streams import Streams

_HAND_IN_S = 60.0
_LOOK_S = 0.25


class Fleet:
    """The devices of a scenario, in `scenario.threads` threads from `start` to `stop`.

    with Fleet(scenario, streams, equipment, time.time) as fleet:
        fleet.run(60)                       # a minute: arrivals, predictions, labels, polls
        fleet.begin("arms")                 # a drift of the scenario that has no `at`
        fleet.run_until(lambda: operator.status(rollout).ended, at_most_s=600)
    fleet.outcome()

    Args:
        clock: the wall's.
        tell: is called with everything that happens, from the thread in which it does.
    """

    def __init__(
        self,
        scenario: Scenario,
        streams: Streams,
        equipment: Equipment,
        clock: Callable[[], float],
        tell: Tell = lambda happening: None,
    ) -> None:
        self.scenario, self.clock, self._tell = scenario, clock, tell
        self._outcome = Outcome(scenario.name, scenario.seed, clock())
        self._lock = threading.Lock()
        count = min(scenario.threads, scenario.devices)
        self.agendas = [Agenda() for _ in range(count)]
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self.devices = []
        for number in range(scenario.devices):
            agenda = self.agendas[number % count]
            device = SimulatedDevice(
                number,
                scenario,
                conditions(scenario, number),
                streams.feed(number, dice(scenario.seed, number, "feed")),
                equipment,
                clock,
                self._outcome.started_at,
                agenda.enter,
                self._happened,
            )
            self.devices.append(device)
            self._outcome.devices.append(DeviceOutcome(number))
            agenda.enter(self._outcome.started_at + device.lot.arrives_s, device.arrive)

    def __enter__(self) -> Fleet:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Let the threads go."""
        for number, agenda in enumerate(self.agendas):
            thread = threading.Thread(target=self._work, args=(agenda,), name=f"fleet-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def run(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            BaseException: what a device's thread died of, which is a defect.
        """
        until = time.time() + seconds
        while (left := until - time.time()) > 0 and not self._failures:
            time.sleep(min(left, _LOOK_S))
        if self._failures:
            raise self._failures[0]

    def run_until(self, condition: Callable[[], bool], at_most_s: float, look_s: float = 1.0) -> bool:
        """Let time pass until `condition` holds, looking every `look_s` seconds; whether it does."""
        until = self.clock() + at_most_s
        while not condition():
            if self.clock() >= until:
                return False
            self.run(look_s)
        return True

    def begin(self, drift: str) -> int:
        """Begin a drift now, by its name; how many devices it reaches.

        Raises:
            ScenarioError: the scenario has no such drift.
        """
        section = next((one for one in self.scenario.drifts if one.name == drift), None)
        if section is None:
            known = ", ".join(one.name for one in self.scenario.drifts) or "none"
            raise ScenarioError(f"the scenario has no drift {drift!r}: it has {known}")
        for device in self.devices:
            agenda = self.agendas[device.number % len(self.agendas)]
            agenda.enter(self.clock(), partial(device.begin, section))
        return sum(section in device.lot.drifts for device in self.devices)

    def stop(self) -> None:
        """Switch every device off in good order; reports wait on the devices until `hand_in`."""
        if self._stop.is_set():
            return
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for device in self.devices:
            device.stop()
        self._outcome.duration_s = self.clock() - self._outcome.started_at

    def hand_in(self, at_most_s: float = _HAND_IN_S) -> int:
        """After `stop`, send every report that waits, whatever the spells; how many are left."""
        until = time.monotonic() + at_most_s
        left = [device for device in self.devices if device.device is not None and device.device_id]
        while left:
            left = [device for device in left if not handed_in(device)]
            if time.monotonic() > until:
                break
        return len(left)

    def outcome(self) -> Outcome:
        """What came of it so far; after `stop`, with what each device would run if it started again."""
        for device, found in zip(self.devices, self._outcome.devices, strict=True):
            device.describe(found, restarted=self._stop.is_set())
        self._outcome.acknowledged = sum(len(one.network.acknowledged) for one in self.devices)
        self._outcome.requests = sum(device.network.requests for device in self.devices)
        return self._outcome

    def _work(self, agenda: Agenda) -> None:
        try:
            agenda.work(self._stop)
        except BaseException as error:
            self._failures.append(error)
            raise

    def _happened(self, happening: Happening) -> None:
        with self._lock:
            self._outcome.happenings.append(happening)
            if happening.report is not None:
                self._outcome.devices[happening.device].reports.append((happening.at, happening.report))
        self._tell(happening)
