"""What happens in the demo, in order. Nothing here prints; each phase gives what came of it as data."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import TypeAdapter

from acclimate.client import ServiceClient
from acclimate.demo.figures import accuracy
from acclimate.demo.happened import Drifted, Learned, Retrained, RolledOut, Settled
from acclimate.demo.people import CONSENTING, STRANGERS, TRAINED, arms, record
from acclimate.demo.size import Size
from acclimate.demo.stage import FLEET, Stage
from acclimate.errors import RolloutError, ScenarioError
from acclimate.evaluation import Evaluation
from acclimate.initialization import Initialization
from acclimate.registry import VersionInfo
from acclimate.rollout.domain.access import AuditEntry
from acclimate.rollout.domain.evidence import Decision, Observation
from acclimate.rollout.domain.rollout import Rollout
from acclimate.simulation import (
    Equipment,
    Fleet,
    Happening,
    HttpOperator,
    Outcome,
    Scenario,
    ServedWorld,
    ServiceProcess,
    SharedEngines,
    open_streams,
)
from acclimate.simulation.scenario import RolloutSection
from acclimate.tasks.datasets import watch
from acclimate.workflow import Listener, meta_train

ARMS = "arms"
"""The drift: each watch moves to its owner's other arm."""
POLL_S = 1.0
"""A report covers three polls, and its losses leave the device only where it holds some of them."""


@dataclass(frozen=True)
class _Live:
    """The service and its fleet, from the moment that devices enrol."""

    service: ServiceClient
    operator: HttpOperator
    fleet: Fleet
    started: float


class Story:
    """The demo on a stage, told phase by phase, in the order of the methods. Use it as a context.

    The service goes on until the context ends.

    Args:
        on_wait: hears what is waited for and how far it is, twice a second.
    """

    def __init__(self, stage: Stage, size: Size, on_wait: Callable[[str], None]) -> None:
        self.stage, self.size, self._on_wait = stage, size, on_wait
        self._open = ExitStack()
        self._handed_in: set[str] = set()
        self._recording = threading.Lock()
        self._running: _Live | None = None
        self.service: ServiceProcess = stage.service()

    def __enter__(self) -> Story:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def learn(self, listener: Listener) -> Learned:
        """Meta-train on the people who gave recordings at first, evaluate on strangers, register."""
        began = time.monotonic()
        record((*TRAINED, *STRANGERS), self.stage.recordings)
        uri = self.stage.registry.location.tracking_uri
        outcome = meta_train(self.stage.recipe, listener=listener, tracking_uri=uri)
        assert outcome is not None  # nobody asks it to stop
        return Learned(outcome.version, outcome.evaluation, len(TRAINED), time.monotonic() - began)

    def settle(self, version: VersionInfo) -> Settled:
        """Export and sign, start the service, let devices of people never trained on enrol and adapt."""
        release, factory = self.stage.sign(f"{version.name}@{version.version}")
        self._open.enter_context(self.service)
        world = ServedWorld(self.service.url, self.service.token, self.stage.root)
        operator = world.operator
        operator.add_fleet(FLEET, poll_s=POLL_S)
        operator.set_baseline(FLEET, release)
        scenario = _scenario(self.size)
        token = operator.enrolment_token(FLEET, scenario.devices)
        metadata = self.stage.home / "devices"
        equipment = Equipment(factory, world.root, world.connect, metadata, token, SharedEngines())
        streams = open_streams(scenario.stream)
        fleet = Fleet(scenario, streams, equipment, world.clock, self._hand_in_recordings)
        client = ServiceClient(self.service.url, self.service.token)
        self._running = _Live(client, operator, fleet, world.clock())
        self._open.enter_context(fleet)
        self._wait(
            "devices to adapt", lambda: self._adapted() >= 0.9 and self._lessons() >= self.size.lessons
        )
        outcome, now = self._fleet.outcome(), self._now()
        first = accuracy(outcome, 0.0, now / 4)
        return Settled(
            release, scenario.devices, now, first, accuracy(outcome, now - self.size.settle_s, now)
        )

    def drift(self) -> Drifted:
        """Every watch changes arms; wait until the service has asked for a version and recovery shows."""
        began, lessons = self._now(), self._lessons() + self.size.lessons_after
        self._fleet.begin(ARMS)
        self._wait("the service to ask for a training", lambda: self._audited("retraining.start") is not None)
        asked = (self._audited("retraining.start") or time.time()) - self._live.started
        self._wait("devices to adapt again", lambda: self._adapted() >= 0.9 and self._lessons() >= lessons)
        outcome, now, span = self._fleet.outcome(), self._now(), self.size.settle_s
        moments = ((began - span, began), (began, began + span), (now - span, now))
        before, worst, after = (accuracy(outcome, first, last) for first, last in moments)
        found = tuple(outcome.detections())
        return Drifted(began, asked, now, (before, worst, after), found, outcome.false_alarms())

    def retrain(self) -> Retrained:
        """Wait for the version of the training that the service started."""

        def ended() -> bool:
            return any(self._audited(f"retraining.{how}") for how in ("done", "fail"))

        self._wait("the training to end", ended)
        audit = [entry for entry in self._audit() if "retraining" in entry.action]
        registry, name = self.stage.registry, self.stage.recipe.name
        if self._audited("retraining.done") is None:
            raise ScenarioError(f"the training that the service started failed: {audit[0].detail}")
        version = registry.version(name, "candidate")
        evaluation = Evaluation.from_json(registry.evaluation(name, str(version.version)))
        lines = tuple(f"{entry.action} by {entry.actor}: {entry.detail}" for entry in reversed(audit))
        return Retrained(version, evaluation, lines)

    def spoil(self, good: VersionInfo) -> VersionInfo:
        """Register a version with a mistake that no test on recordings finds: somebody's pipeline reads
        accelerations in mg and rotations in degrees, training and test data alike, while watches measure g
        and radians. (With one of the two wrong, devices learn well enough from the other.)"""
        registry = self.stage.registry
        initialization, _ = registry.fetch(good.name, str(good.version))
        evaluation = registry.evaluation(good.name, str(good.version))
        run = registry.start_run(good.name, "wrong-units", {"parent_version": str(good.version)})
        made = registry.register(
            good.name,
            in_wrong_units(initialization),
            experiment=good.name,
            run_id=run.run_id,
            evaluation=evaluation,
            files={"recipe.yaml": registry.document(good.name, str(good.version), "recipe.yaml") or ""},
            lineage={
                "parent_version": str(good.version),
                "note": "accelerations in mg and rotations in degrees by mistake",
            },
            metrics={},
        )
        run.end("FINISHED")
        return made

    def roll_out(self, version: VersionInfo, undecided: Literal["promote", "rollback"]) -> RolledOut:
        """Export, sign and roll out a version in gated waves, and wait until the rollout has ended.

        Args:
            undecided: what the operator does where every device has settled and the gates, on so few, prove
                neither harm nor its absence.
        """
        release, _ = self.stage.sign(f"{version.name}@{version.version}")
        began = self._now()
        section = RolloutSection(
            at=0, version=version.version, waves=self.size.waves, min_devices=self.size.min_devices, plan=PLAN
        )
        identity = self._operator.roll_out(FLEET, section.body(f"{release.name}@{release.version}"))

        def ended() -> bool:
            return self._operator.status(identity).ended

        what = f"the rollout of version {version.version}"
        self._wait(what, lambda: ended() or self._all_settled(identity))
        if not self._fleet.run_until(ended, self.size.settle_s / 2, look_s=0.5):
            self._decide(identity, undecided)
        self._wait(what, ended)
        until = self._now()
        self._fleet.run(self.size.settle_s / 2)
        service, path = self._live.service, f"/rollouts/{identity}"
        found = TypeAdapter(Rollout).validate_python(service.get(path)["rollout"])
        observations = self._observations(identity)
        decisions = TypeAdapter(tuple[Decision, ...]).validate_python(
            service.get(f"{path}/decisions", limit=1000)
        )
        return RolledOut(found, observations, decisions[::-1], began, until)

    def _observations(self, identity: str) -> tuple[Observation, ...]:
        found = self._live.service.get(f"/rollouts/{identity}/observations")
        return TypeAdapter(tuple[Observation, ...]).validate_python(found)

    def _all_settled(self, identity: str) -> bool:
        """Every device of both arms has shown what the gates will ever learn of it in this wave."""
        observations = self._observations(identity)
        return bool(observations) and all(one.order is not None for one in observations)

    def _decide(self, identity: str, undecided: Literal["promote", "rollback"]) -> None:
        """Promote wave by wave until the rollout has ended, or roll it back."""
        reason = "the gates hold: neither harm nor its absence is proven"
        for _ in range(self.size.waves.count(",") + 1 if undecided == "promote" else 1):
            with suppress(RolloutError):  # it may have moved by itself since we looked
                self._operator.operate(identity, undecided, reason)
            self._fleet.run_until(
                lambda: self._operator.status(identity).ended, self.size.settle_s / 2, look_s=0.5
            )

    def so_far(self) -> Outcome:
        """What came of the fleet until now."""
        return self._fleet.outcome()

    def end(self) -> Outcome:
        """Switch the devices off and collect what they report."""
        self._fleet.stop()
        self._fleet.hand_in()
        outcome = self._fleet.outcome()
        outcome.counted = self._operator.counted(FLEET)
        return outcome

    @property
    def _live(self) -> _Live:
        if self._running is None:
            raise ScenarioError("no device has settled yet: tell the story in the order of its methods")
        return self._running

    @property
    def _operator(self) -> HttpOperator:
        return self._live.operator

    @property
    def _fleet(self) -> Fleet:
        return self._live.fleet

    def _now(self) -> float:
        return time.time() - self._live.started

    def _lessons(self) -> float:
        """Labelled examples a device has reported, on average."""
        return self._fleet.outcome().made()["examples"] / self.size.devices

    def _adapted(self) -> float:
        devices = [device.device for device in self._fleet.devices]
        return sum(device is not None and device.adapted for device in devices) / len(devices)

    def _audited(self, action: str) -> float | None:
        """When the service last did something about training."""
        return next((entry.at for entry in self._audit() if entry.action == action), None)

    def _audit(self) -> list[AuditEntry]:
        """The service's own account of the fleet, newest first."""
        return TypeAdapter(list[AuditEntry]).validate_python(self._live.service.get("/audit", limit=1000))

    def _telling(self, what: str, until: Callable[[], bool]) -> Callable[[], bool]:
        def look() -> bool:
            adapted, lessons = f"{100 * self._adapted():.0f} %", self._lessons()
            self._on_wait(f"{what}: {adapted} of the devices adapted, {lessons:.0f} labels each")
            return until()

        return look

    def _wait(self, what: str, until: Callable[[], bool]) -> None:
        if not self._fleet.run_until(self._telling(what, until), self.size.patience_s, look_s=0.5):
            raise ScenarioError(
                f"waited {self.size.patience_s:g} s for {what} in vain: this machine may be too busy; the "
                f"service's log is {self.service.home / 'serve.log'}"
            )

    def _hand_in_recordings(self, happening: Happening) -> None:
        """A device that noticed drift hands in what its owner consented to, once: both arms' recordings."""
        if happening.report is None or not happening.report.drifts:
            return
        person = self._live.fleet.devices[happening.device].feed.task.rpartition("-")[0]
        with self._recording:
            if person in CONSENTING and person not in self._handed_in:
                self._handed_in.add(person)
                record([person], self.stage.recordings)


PLAN = {
    "gates": [{"metric": "loss", "tolerance": 2.0, "proof": True, "weight": 9}, {"metric": "failure"}],
    "control_share": 0.5,
    "min_examples": 10,
    "silence_s": 600,
    "rollback_timeout_s": 120,
}
"""Gates that can decide on so few devices: half of them as control, and harm up to two standard deviations
between devices need not be ruled out. Proven harm of any size still rolls back."""


def in_wrong_units(initialization: Initialization) -> Initialization:
    """The same start, as if trained on mg, thousandths of g, and on degrees a second."""
    factors = [{"g": 1000.0, "rad/s": math.degrees(1.0)}[unit] for unit in watch.UNITS]
    given = initialization.normalization
    wrong = replace(
        given,
        mean=tuple(one * factor for one, factor in zip(given.mean, factors, strict=True)),
        scale=tuple(one * factor for one, factor in zip(given.scale, factors, strict=True)),
    )
    return replace(initialization, normalization=wrong)


def _scenario(size: Size) -> Scenario:
    return Scenario.model_validate(
        {
            "name": FLEET,
            "devices": size.devices,
            "clock": "wall",
            "duration": "1h",
            "threads": 2,
            "stream": {
                "source": "watch",
                "tasks": arms((*CONSENTING, *STRANGERS), "right"),
                "order": "rounds",
                "every": size.every_s,
            },
            "arrivals": {"over": 4.0},
            "policy": {"every": 48, "hurry": 48, "on_input_shift": "reset", "watch_every": 1},
            "input_shift": {"block": 7, "reference": 8},  # a block is one round
            "drifts": [{"name": ARMS, "kind": "other-task"}],
            "service": {"poll": POLL_S},
        }
    )
