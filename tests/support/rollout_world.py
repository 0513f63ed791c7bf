"""A small world around the controller: a store, a clock, and devices that poll, adapt and report.

Devices obey what the pure assignment says, as at a poll; a test changes one rule at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from acclimate.rollout.controller import Controller
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.assignment import Assignment, assign
from acclimate.rollout.domain.evidence import Decision
from acclimate.rollout.domain.fleet import Member
from acclimate.rollout.domain.plan import Gate, Wave
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.rollout.field_result import ModelRegistry
from acclimate.rollout.store import Store, Taken
from acclimate_device.protocol import Release
from tests.support.rollout_samples import NEW, NOW, OLD, a_device, a_fleet, a_report, a_rollout

Behaviour = Callable[[random.Random, Member, Release, ReportRecord], ReportRecord | None]
"""From a device, what it runs and the report it would send to the one it does send; None for silence."""


PLAN = {
    "waves": (Wave(share=0.2, min_devices=20), Wave(share=0.6, min_devices=20)),
    "gates": (Gate("loss", tolerance=1.0, proof=True, weight=3), Gate("failure"), Gate("silence")),
    "control_share": 0.4,
    "silence_s": 600.0,
}


def healthy(
    rng: random.Random, member: Member, release: Release, report: ReportRecord
) -> ReportRecord | None:
    return report


class World:
    """One fleet of `devices` devices on the old release, and one planned rollout of the new one."""

    def __init__(
        self,
        store: Store,
        devices: int,
        behaviour: Behaviour = healthy,
        seed: int = 0,
        registry: ModelRegistry | None = None,
        **plan: object,
    ) -> None:
        self.store, self.behaviour, self.now = store, behaviour, NOW
        self.rng = random.Random(seed)
        self._reports = 0
        self._obeyed: dict[str, int] = {}
        self.running: dict[str, Release] = {}
        self.ever_ran: set[str] = set()
        store.add_fleet(a_fleet(), "ada")
        store.add_devices([a_device(number) for number in range(devices)], NOW, "ada")
        store.set_baseline("home", "", OLD, NOW, "ada")
        store.add_rollout(a_rollout(**plan), "ada")
        self.controller = Controller(store, "one", lambda: self.now, registry)

    @property
    def rollout(self) -> Rollout:
        return self.store.rollout("rollout-1")

    def do(self, action: str) -> Rollout:
        """What a person asks for."""
        steps = {
            "start": lambda one, _: life.start(one, self.now),
            "pause": lambda one, revision: life.pause(one, self.now, revision),
            "resume": lambda one, revision: life.resume(one, self.now, revision),
            "promote": lambda one, _: life.promote(one, self.now, approved=True),
            "roll_back": lambda one, revision: life.roll_back(one, self.now, revision),
        }
        decision = Decision("rollout-1", self.now, action, "asked", "ada", 0)
        return self.store.step_rollout("rollout-1", steps[action], decision)

    def round(self, seconds: float = 60.0) -> None:
        """Time passes, the controller ticks, every device polls and reports."""
        self.now += seconds
        self.controller.tick()
        self.poll_and_report()

    def until(self, *states: State, rounds: int = 200) -> Rollout:
        """Rounds until the rollout is in one of `states`."""
        for _ in range(rounds):
            if self.rollout.state in states:
                return self.rollout
            self.round()
        raise AssertionError(f"still {self.rollout.state} after {rounds} rounds: {self.why()}")

    def why(self) -> str:
        """The newest decision's reason."""
        return self.store.decisions("rollout-1")[0].reason

    def poll_and_report(self) -> None:
        everything = next(one for one in self.store.changes({}) if one.fleet.name == "home")
        taken, reports = [], []
        for member in everything.members:
            told = assign(
                everything.fleet,
                everything.live,
                member.id,
                member.attributes,
                member.revision,
                member.doubled,
            )
            if told.arm is not None and told.action != "hold" and told.release is not None:
                taken.append(self._taken(member, told))
            report = self._obey(member, told)
            if report is not None:
                reports.append(report)
        self.store.record_taken(taken)
        self.rng.shuffle(reports)
        self.store.add_reports(reports)

    def _taken(self, member: Member, told: Assignment) -> Taken:
        assert told.arm is not None
        assert told.release is not None
        content_hash = told.release.content_hash
        return Taken(told.rollout, member.id, told.arm, told.wave, told.counter, content_hash, self.now)

    def _obey(self, member: Member, told: Assignment) -> ReportRecord | None:
        assert told.counter >= self._obeyed.get(member.id, 0), "a device was told an older counter"
        self._obeyed[member.id] = told.counter
        if told.action != "hold" and told.release is not None:
            self.running[member.id] = told.release
        release = self.running.get(member.id)
        if release is None:
            return None
        if release == NEW:
            self.ever_ran.add(member.id)
        self._reports += 1
        loss = 10 * (1.0 + 0.1 * self.rng.gauss(0, 1))
        report = a_report(member.id, self._reports, release=release, counter=told.counter)
        report = replace(
            report, received_at=self.now, ended_at=self.now, loss_sum=loss, adapted_loss_sum=loss
        )
        return self.behaviour(self.rng, member, release, report)


def with_harm(deviations: float) -> Behaviour:
    """The new release's loss is this many of its standard deviations higher."""

    def behave(rng: random.Random, member: Member, release: Release, report: ReportRecord) -> ReportRecord:
        extra = deviations * 1.0 if release == NEW else 0.0
        return replace(
            report, loss_sum=report.loss_sum + extra, adapted_loss_sum=report.adapted_loss_sum + extra
        )

    return behave
