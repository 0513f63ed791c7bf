"""One device of a simulated fleet: the real `Device` and `Agent`, and around them what a scenario makes up.

Made up are its clock, its network, its flash, its sensor and its owner, who labels some predictions, later or
never. What the SDK does with all that is not simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from acclimate.simulation.conditions import Conditions, dice, spells
from acclimate.simulation.distortion import Distortion, distortion
from acclimate.simulation.events import Happening, Kind, Tell
from acclimate.simulation.microcontroller import Microcontroller, Program
from acclimate.simulation.network import Network
from acclimate.simulation.outcome import DeviceOutcome
from acclimate.simulation.scenario import DriftSection, FaultSection, Scenario
from acclimate.simulation.streams import Feed, Float
from acclimate_device import Device, OnlinePolicy
from acclimate_device.agent import Agent, Transport
from acclimate_device.bundle import Bundle
from acclimate_device.drift import InputShift
from acclimate_device.errors import DeviceError, InputError, TransportError
from acclimate_device.protocol import Report
from acclimate_device.runtime import Engine, load_engine
from acclimate_device.storage import Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import PowerCutError, SimulatedFlash

Enter = Callable[[float, Callable[[], float | None]], None]
"""Puts an action on the agenda: due time, action."""
_CUT_WITHIN_CALLS = 60
_RETRY_ENROL_S = 5.0


@dataclass(frozen=True)
class Equipment:
    """What all devices of a fleet are given.

    Attributes:
        factory: the bundle they are shipped with, by file name.
        root: the trusted TUF root they are shipped with.
        connect: opens a device's connection to the service.
        metadata: folder for verified TUF metadata, one folder a device.
        token: the enrolment token.
        load: makes engines; devices of one process share them.
        program: the C runtime for this machine, where some devices are microcontrollers.
    """

    factory: Mapping[str, bytes]
    root: bytes
    connect: Callable[[], Transport]
    metadata: Path
    token: str
    load: Callable[[Bundle, Engine | None], Engine]
    program: Program | None = None


class SharedEngines:
    """Engines by the exact bytes of their bundle: immutable, so ten thousand devices load each once."""

    def __init__(self) -> None:
        self._engines: dict[tuple[str, ...], Engine] = {}

    def __call__(self, bundle: Bundle, like: Engine | None = None) -> Engine:
        manifest = bundle.manifest
        key = (repr(manifest.release), *(file.sha256 for file in manifest.files.values()))
        if key not in self._engines:
            self._engines[key] = load_engine(bundle, like)
        return self._engines[key]


class SimulatedDevice:
    """Device number `number` of a scenario.

    Args:
        clock: the true time, Unix seconds.
        started_at: when the scenario began.
        enter: the agenda that runs this device; everything here happens in its thread.

    Attributes:
        flash: its storage; replaced by what is left of it after a power cut.
        device: None before it arrives and after it failed for good.
        begun: when each drift that reached it began.
    """

    def __init__(
        self,
        number: int,
        scenario: Scenario,
        lot: Conditions,
        feed: Feed,
        equipment: Equipment,
        clock: Callable[[], float],
        started_at: float,
        enter: Enter,
        tell: Tell,
    ) -> None:
        self.number, self.lot, self.feed = number, lot, feed
        self._scenario, self._equipment = scenario, equipment
        self._clock, self._started_at, self._enter, self._tell = clock, started_at, enter, tell
        self._policy = OnlinePolicy(**scenario.policy)
        self._ids = dice(scenario.seed, number, "ids")
        self._labels = dice(scenario.seed, number, "labels")
        self._faults = dice(scenario.seed, number, "faults")
        self._rng = dice(scenario.seed, number, "agent")
        self.network = Network(equipment.connect(), scenario.network, dice(scenario.seed, number, "network"))
        self.flash = SimulatedFlash()
        self.device: Device | Microcontroller | None = None
        self.device_id = ""
        self.begun: dict[str, float] = {}
        self._distortions: dict[str, Distortion] = {}
        self._mute = self._sensor_dead = False
        self._examples = 0

    def arrive(self) -> None:
        """Be switched on for the first time, and put everything that is to happen on the agenda."""
        now = self._clock()
        key = dice(self._scenario.seed, self.number, "key").randbytes(32)
        Store(self.flash).write("key", key)
        self._start()
        self._enter(now, self._guarded(self._round))
        self._enter(now + self._phase(self._scenario.stream.every), self._guarded(self._example))
        if self.lot.offline:
            lengths = spells(self._scenario, dice(self._scenario.seed, self.number, "spells"))
            self._enter(now + next(lengths), lambda: self._toggle(next(lengths)))
        for drift in self.lot.drifts:
            if drift.at is not None:
                self._enter(max(now, self._started_at + drift.at), partial(self.begin, drift))
        for fault in self.lot.faults:
            first = max(now, self._started_at + fault.at)
            self._enter(first + self._until_next(fault), partial(self._fail, fault))

    def begin(self, drift: DriftSection) -> None:
        """Let the inputs drift from now on, if the drift is one of this device's and it is there."""
        if drift not in self.lot.drifts or self.device is None or drift.name in self.begun:
            return
        self.begun[drift.name] = self._clock()
        if drift.kind == "other-task":
            self.feed.move()
        else:
            rng = dice(self._scenario.seed, self.number, f"{drift.name} itself")
            self._distortions[drift.name] = distortion(drift, self._deviations(), rng)
        self._say("drift-began", drift.name)

    def stop(self) -> None:
        """Switch off in good order: the open window is reported and what was learnt is saved. From here on
        no fault happens."""
        self.flash.cut_at = None
        if self.device is not None:
            self.device.close()

    def hand_in(self) -> int:
        """Send every report that waits; how many the service settled.

        Raises:
            TransportError: the service cannot be reached.
        """
        self.network.online = True
        return self._agent.send_reports()

    def describe(self, outcome: DeviceOutcome, restarted: bool) -> None:
        """Say what it is and runs, or what it would run if it were `restarted` now."""
        outcome.device_id, outcome.task, outcome.begun = self.device_id, self.feed.task, dict(self.begun)
        outcome.waiting = len(ReportQueue(Store(self.flash)).reports())
        running = self._reopened() if restarted else self.device
        if running is not None:
            outcome.runs, outcome.adapted, outcome.slot = running.release, running.adapted, running.slot

    def _reopened(self) -> Device | Microcontroller | None:
        """What would run if it started again now, from its flash alone; None if nothing loads, which a device
        must never come to."""
        if self.device is None:
            return None
        try:
            return self._open()
        except DeviceError:
            return None

    def _now(self) -> float:
        """What its own clock shows."""
        elapsed = self._clock() - self._started_at
        return self._started_at + elapsed * self.lot.rate + self.lot.skew_s

    def _new_id(self) -> str:
        return f"{self._ids.getrandbits(128):032x}"

    def _start(self) -> None:
        equipment = self._equipment
        self._agent = Agent(
            self.network,
            self.flash,
            equipment.root,
            equipment.metadata / f"{self.number:06d}",
            clock=self._now,
            rng=self._rng,
            new_id=self._new_id,
        )
        self.device = self._open()

    def _open(self) -> Device | Microcontroller:
        if self.lot.microcontroller:
            return self._open_microcontroller()
        return Device(
            self._equipment.factory.get,
            self.flash,
            self._policy,
            input_shift=InputShift(**shift) if (shift := self._scenario.input_shift) else None,
            clock=self._now,
            new_id=self._new_id,
            load=self._equipment.load,
            on_report=self._reported,
        )

    def _open_microcontroller(self) -> Microcontroller:
        equipment = self._equipment
        assert equipment.program is not None
        if isinstance(self.device, Microcontroller):
            self.device.halt()  # its power is cut, too
        return Microcontroller(
            equipment.program,
            equipment.metadata / f"{self.number:06d}.flash",
            Store(self.flash),
            equipment.factory.get,
            self._now,
            self._new_id,
            self._reported,
        )

    def _guarded(self, act: Callable[[Device | Microcontroller], float | None]) -> Callable[[], float | None]:
        """The action while the device is there; a power cut in the middle of it restarts the device."""

        def guarded() -> float | None:
            if self.device is None:
                return None
            try:
                return act(self.device)
            except PowerCutError:
                self._restart("power cut", self.flash.after_power_cut())
                return 1.0

        return guarded

    def _round(self, device: Device | Microcontroller) -> float | None:
        """Poll and report as the agent does, before and after the device's housekeeping."""
        if self._mute:
            return None
        if not self.device_id and not self._enrolled():
            return _RETRY_ENROL_S * self._rng.uniform(0.5, 1.5)
        device.tick()
        try:
            wait = self._agent.round()
        except TransportError as error:  # only where an operator retired it
            self.device = None
            self._say("failed", str(error))
            return None
        device.tick()
        return wait

    def _enrolled(self) -> bool:
        attributes: dict[str, str | int | float | bool] = {"task": self.feed.task, "number": self.number}
        try:
            enrolled = self._agent.service.enrol(
                self._equipment.token, f"simulated-{self.number:06d}", attributes, ""
            )
        except TransportError as error:
            if error.status in (401, 403):
                self.device = None
                self._say("failed", str(error))
            return False
        self.device_id = enrolled.device_id
        self._say("enrolled", enrolled.device_id)
        return True

    def _example(self, device: Device | Microcontroller) -> float:
        """One prediction; its label comes at once, later, or never."""
        x, label = self.feed.next()
        x = self._recorded(x)
        number = self._examples = self._examples + 1
        labels = self._scenario.labels
        labelled = self._labels.random() < labels.share
        try:
            if not labelled:
                device.predict_one(x)
            elif labels.delay == 0:
                device.predict_one(x)
                device.learn_one(x, label)
            else:
                device.predict_one(x, key=number)
                late = self._labels.expovariate(1.0 / labels.delay)
                self._enter(self._clock() + late, self._guarded(partial(_label, number, label)))
        except InputError:
            pass  # the device counts it, as an application would leave it to
        return self._scenario.stream.every

    def _recorded(self, x: Float) -> Float:
        for drift in self.lot.drifts:
            if drift.name in self._distortions:
                age = self._clock() - self.begun[drift.name]
                progress = min(1.0, age / drift.over) if drift.over else 1.0
                x = self._distortions[drift.name](x, progress)
        return np.full_like(x, np.nan) if self._sensor_dead else x

    def _deviations(self) -> Float:
        assert self.device is not None
        given = self.device.manifest.input
        return np.asarray(given.scale or [1.0] * given.shape[0], np.float32)

    def _toggle(self, lasts: float) -> float:
        self.network.online = not self.network.online
        self._say("online" if self.network.online else "offline")
        return lasts

    def _until_next(self, fault: FaultSection) -> float:
        return self._faults.expovariate(1.0 / fault.every)

    def _fail(self, fault: FaultSection) -> float | None:
        if self.device is None:
            return None
        if fault.kind == "mute":
            self._mute = True
            self._say("mute")
            return None
        if fault.kind == "dead-sensor":
            self._sensor_dead = True
            return None
        if fault.kind == "restart":
            self._restart("restart", self.flash)
        elif fault.kind == "power-cut":
            self.flash.cut_at = self.flash.calls + self._faults.randrange(_CUT_WITHIN_CALLS)
            self.flash.torn = self._faults.choice(("nothing", "half", "zeros", "everything"))
        else:
            self._wear()
        return self._until_next(fault)

    def _wear(self) -> None:
        """Flip a bit of the version or the state, never of the key: without it there is no device."""
        names = [name for name in self.flash.names("") if not name.startswith(("key", "enrolled", "outbox"))]
        names = [name for name in names if self.flash.size(name)]
        if names:
            name = self._faults.choice(names)
            self.flash.flip(name, self._faults.randrange(8 * (self.flash.size(name) or 1)))
            self._restart(f"worn flash: {name}", self.flash)

    def _restart(self, why: str, flash: SimulatedFlash) -> None:
        self.flash = flash
        try:
            self._start()
        except DeviceError as error:
            self.device = None
            self._say("failed", str(error))
            return
        self._say("restarted", why)

    def _phase(self, every: float) -> float:
        return dice(self._scenario.seed, self.number, "phase").random() * every

    def _reported(self, report: Report) -> None:
        self._tell(Happening(self._clock(), self.number, "report", report=report))

    def _say(self, kind: Kind, detail: str = "") -> None:
        self._tell(Happening(self._clock(), self.number, kind, detail))


def handed_in(device: SimulatedDevice) -> bool:
    """Whether every report of a device that was switched off reached the service."""
    try:
        device.hand_in()
    except TransportError:
        return False
    return True


def _label(number: int, label: object, device: Device | Microcontroller) -> None:
    device.learn_late(number, label)
