"""Random lives of a fleet against a model of what must hold, for ever so many seeds.

Each sequence mixes what people, the controller, time and devices do, in any order, refusals included. After
every step the model checks each device: what it was told, under which counter, and whether that was allowed.
"""

from __future__ import annotations

import random
from dataclasses import replace

from acclimate.errors import RolloutError
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.assignment import Assignment, assign, with_baseline
from acclimate.rollout.domain.cohort import position, thresholds
from acclimate.rollout.domain.fleet import Baseline, Fleet, next_revision
from acclimate.rollout.domain.plan import Wave
from acclimate.rollout.domain.rollout import ENDED, Rollout, State
from acclimate_device.protocol import Release
from tests.support.rollout_samples import NOW, a_fleet, a_plan

STEPS = ("start", "pause", "resume", "hold", "promote", "approve", "tick", "roll_back", "close", "abort")
WEIGHTS = (3, 2, 3, 1, 4, 2, 8, 1, 2, 0.3)


def release(version: int) -> Release:
    return Release("gait", version, f"{version:064x}")


class Life:
    """One random sequence. `run` raises AssertionError where an invariant breaks."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = NOW
        self.fleet: Fleet = a_fleet(baselines=(Baseline(release(1), 1),))
        self.devices = {f"d{number}": ({"site": self.rng.choice("AB")}, 1) for number in range(8)}
        self.told: dict[str, Assignment] = {}
        self.exposed: set[str] = set()
        self.number = 1
        self.rollout = self._planned()

    def run(self, steps: int = 40) -> None:
        for _ in range(steps):
            self.now += self.rng.choice((0.0, 0.001, 60.0))
            if self.rng.random() < 0.15:
                self._devices_change()
            before = self.rollout
            self._step(self.rng.choices(STEPS, WEIGHTS)[0])
            self._check(before)
            if self.rollout.state in ENDED and self.rng.random() < 0.5:
                self.rollout, self.exposed = self._planned(), set()

    def _planned(self) -> Rollout:
        self.number += 1
        first, second = sorted(self.rng.sample((0.1, 0.3, 0.6, 1.0), 2))
        waves = (Wave(share=first), Wave(share=second, approval=self.rng.random() < 0.3))
        if self.rng.random() < 0.3:
            waves = (Wave(count=2), Wave(share=second))
        plan = a_plan(
            waves=waves,
            release=release(self.number),
            target=self.rng.choice(("", 'site == "A"')),
            control_share=self.rng.choice((0.0, 0.2, 0.5)),
        )
        return Rollout(f"r{self.number}-{self.rng.random()}", plan, self.now, "ada")

    def _step(self, name: str) -> None:
        """As the store does it: a refusal changes nothing, a step and its revision come together."""
        revision = next_revision(self.fleet.revision, self.now)
        try:
            after = self._after(name, revision)
        except RolloutError:
            return
        assert after.generation == self.rollout.generation + 1
        self.fleet = replace(self.fleet, revision=revision)
        if after.state is State.DONE:
            self.fleet = with_baseline(self.fleet, after.plan.target, after.plan.release, revision)
        elif after.state in ENDED:
            self.fleet = replace(self.fleet, floor=revision)
        self.rollout = after

    def _after(self, name: str, revision: int) -> Rollout:
        one, now = self.rollout, self.now
        if name == "tick" and one.next_wave is not None:
            places = [position(one.id, device) for device in self.devices]
            canary, control = thresholds(one.next_wave, one.plan.control_share, places)
            return life.open_wave(one, now, revision, canary, control)
        if name == "tick":
            return life.finish(one, now)
        if name in ("promote", "approve"):
            return life.promote(one, now, approved=name == "approve")
        if name == "hold":
            return life.hold(one, now, "evidence")
        if name == "close":
            return life.rolled_back(one, now)
        if name in ("start", "abort"):
            return getattr(life, name)(one, now)
        return getattr(life, name)(one, now, revision)

    def _devices_change(self) -> None:
        revision = next_revision(self.fleet.revision, self.now)
        self.fleet = replace(self.fleet, revision=revision)
        attributes = {"site": self.rng.choice("AB")}
        if self.rng.random() < 0.5:
            self.devices[f"d{len(self.devices)}"] = (attributes, revision)
        else:
            self.devices[self.rng.choice(sorted(self.devices))] = (attributes, revision)

    def _check(self, before: Rollout) -> None:
        if before.state in ENDED:
            assert self.rollout is before, "an ended rollout moved"
        opened = len(self.rollout.opened) > len(before.opened) and self.rollout.id == before.id
        assert not opened or before.state is State.PROMOTING, "a wave opened from elsewhere than promoting"
        for device, (attributes, revision) in self.devices.items():
            live = self.rollout if self.rollout.live else None
            now = assign(self.fleet, live, device, attributes, revision)
            self._check_device(device, now, opened, newly=device not in self.told)
            self.told[device] = now

    def _check_device(self, device: str, now: Assignment, opened: bool, newly: bool) -> None:
        last = self.told.get(device)
        if last is not None:
            assert now.counter >= last.counter, "a counter fell"
            same = (now.action, now.release) == (last.action, last.release)
            assert same or now.counter > last.counter, "an assignment changed under its counter"
        candidate = self.rollout.plan.release
        state = self.rollout.state
        if now.release == candidate:
            running = state in (State.RUNNING, State.HELD, State.PROMOTING) and now.arm == "canary"
            assert running or state is State.DONE, f"the release is out while {state}"
            moved = last is None or now.counter > last.counter  # enrolled, moved, widened, resumed or done
            assert device in self.exposed or moved
            self.exposed.add(device)
        if state in (State.PAUSED, State.ROLLING_BACK) and now.arm == "canary":
            assert now.release != candidate, f"{state} still hands out the release"
        if now.arm == "control":
            assert now.release != candidate, "a control device got the release"
        if state is State.PAUSED and last is not None and last.release != candidate and not opened:
            assert now.release != candidate, "a pause widened"
