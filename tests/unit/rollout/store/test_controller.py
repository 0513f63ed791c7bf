"""What the controller does with a whole fleet, over each store."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from acclimate.rollout.controller import Controller
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.evidence import Decision
from acclimate.rollout.domain.fleet import Member
from acclimate.rollout.domain.plan import Wave
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.faults import Faults
from acclimate.rollout.store import ConflictError, Store
from acclimate_device.protocol import Release
from tests.support.rollout_samples import NEW, OLD, a_device, a_fleet, a_rollout
from tests.support.rollout_world import PLAN, World, with_harm


@dataclass
class Shelf:
    """A registry in memory that remembers what it was asked."""

    content_hash: str = NEW.content_hash
    aliases: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def version(self, name: str, ref: str) -> Shelf:
        return self

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        self.tags |= tags

    def set_alias(self, name: str, alias: str, version: int) -> None:
        self.aliases[alias] = version


class TestController:
    def test_a_good_release_reaches_the_whole_fleet_and_becomes_champion(self, store: Store):
        shelf = Shelf()
        world = World(store, 300, registry=shelf, **PLAN)
        world.do("start")
        world.until(State.DONE)
        world.round()
        assert set(world.running.values()) == {NEW}
        assert shelf.aliases == {"champion": 2}
        assert shelf.tags["field.result"] == "done"
        assert float(shelf.tags["field.loss"]) == pytest.approx(1.0, abs=0.05)
        assert store.unpublished() == []
        assert [entry.action for entry in store.audit()][:1] == ["rollout.publish"]

    def test_a_harmful_release_is_rolled_back_from_the_first_wave_and_why_is_kept(self, store: Store):
        world = World(store, 300, with_harm(1.0), registry=(shelf := Shelf()), **PLAN)
        world.do("start")
        world.until(State.ROLLED_BACK)
        world.round()
        assert set(world.running.values()) == {OLD}
        assert len(world.ever_ran) < 0.3 * 300
        rolled_back = next(one for one in store.decisions("rollout-1") if one.action == "roll_back")
        loss = next(gate for gate in rolled_back.evidence if gate.gate == "loss")
        assert loss.verdict == "harm"
        assert loss.lower is not None
        assert loss.lower > 0
        assert "loss" in rolled_back.reason
        assert rolled_back.facts["canaries"] == len(world.ever_ran)
        assert shelf.aliases == {}
        assert shelf.tags["field.result"] == "rolled_back"

    def test_devices_that_fall_silent_after_taking_the_release_roll_it_back(self, store: Store):
        def mute(rng: random.Random, member: Member, release: Release, report: ReportRecord):
            return None if release == NEW else report

        world = World(store, 200, mute, **PLAN)
        world.do("start")
        world.until(State.ROLLING_BACK, State.ROLLED_BACK)
        [reason] = [one.reason for one in store.decisions("rollout-1") if one.action == "roll_back"]
        assert "silence" in reason

    def test_a_release_that_devices_cannot_run_rolls_back(self, store: Store):
        def refuse(rng: random.Random, member: Member, release: Release, report: ReportRecord):
            if release != NEW:
                return report
            return replace(report, content_hash=OLD.content_hash, version=OLD.version, fallbacks=1)

        world = World(store, 200, refuse, **PLAN)
        world.do("start")
        world.until(State.ROLLING_BACK, State.ROLLED_BACK)
        assert any(
            "failure" in one.reason for one in store.decisions("rollout-1") if one.action == "roll_back"
        )

    def test_no_data_never_promotes_and_is_held_for_a_person(self, store: Store):
        waves = (Wave(share=0.2, timeout_s=300.0), Wave(share=0.6))
        plan = PLAN | {"waves": waves, "silence_s": 1e6}
        world = World(store, 100, lambda *_: None, **plan)
        world.do("start")
        held = world.until(State.HELD)
        assert held.wave == 1
        assert "no verdict" in world.why()
        for _ in range(5):
            world.round()
        assert world.rollout.state is State.HELD

    def test_the_next_wave_waits_for_its_approval(self, store: Store):
        waves = (Wave(share=0.3, min_devices=20), Wave(share=0.6, min_devices=20, approval=True))
        world = World(store, 300, **PLAN | {"waves": waves})
        world.do("start")
        assert world.until(State.HELD).held_for == "approval"
        world.do("promote")
        assert world.until(State.RUNNING).wave == 2

    def test_a_pause_wins_over_the_promotion_that_was_on_its_way(self, store: Store):
        world = World(store, 300, **PLAN)
        world.do("start")
        world.until(State.RUNNING)
        world.until(State.PROMOTING)
        world.do("pause")
        exposed = set(world.ever_ran)
        for _ in range(10):
            world.round()
        assert world.rollout.state is State.PAUSED
        assert world.ever_ran == exposed
        world.do("resume")
        world.until(State.DONE)

    def test_a_device_that_enrols_in_the_middle_falls_into_place(self, store: Store):
        world = World(store, 100, **PLAN | {"waves": (Wave(share=0.5, min_devices=1000),)})
        world.do("start")
        world.until(State.RUNNING)
        world.round()
        before = len(store.observations("rollout-1"))
        store.add_devices([a_device(number) for number in range(1000, 1100)], world.now, "ada")
        world.round()
        assert 60 <= len(store.observations("rollout-1")) - before <= 100

    def test_only_one_of_two_controllers_leads_and_the_other_takes_over(self, store: Store):
        world = World(store, 20, **PLAN)
        other = Controller(store, "two", lambda: world.now)
        assert (world.controller.tick(), other.tick()) == (True, False)
        world.now += 60
        assert (other.tick(), world.controller.tick()) == (True, False)

    def test_a_new_leader_goes_on_where_the_old_one_stopped(self, store: Store):
        world = World(store, 300, **PLAN)
        world.do("start")
        for turn in range(60):
            if world.rollout.state is State.DONE:
                break
            world.controller = Controller(store, f"leader-{turn}", lambda: world.now)
            world.round()
        orders = [one.order for one in store.observations("rollout-1") if one.order is not None]
        assert world.rollout.state is State.DONE
        assert orders == list(range(1, len(orders) + 1))

    def test_a_leader_that_slept_through_its_lease_changes_nothing(self, store: Store):
        world = World(store, 100, **PLAN)
        world.do("start")
        world.controller.tick()

        class Sleepy:
            """A store through which the first leader still believes in its lease."""

            def __init__(self) -> None:
                self.lease = store.acquire_lease("controller", "one", world.now, 15.0)

            def __getattr__(self, name: str) -> object:
                return getattr(store, name)

            def acquire_lease(self, *_: object) -> object:
                return self.lease

        sleepy = Controller(Sleepy(), "one", lambda: world.now)
        world.now += 60
        Controller(store, "two", lambda: world.now).tick()
        before = store.rollout("rollout-1")
        world.do("pause")
        assert sleepy.tick() is False
        assert store.rollout("rollout-1").generation == before.generation + 1

    def test_a_changed_registry_version_is_left_alone(self, store: Store):
        shelf = Shelf(content_hash="c" * 64)
        world = World(store, 300, registry=shelf, **PLAN)
        world.do("start")
        world.until(State.DONE)
        world.round()
        assert (shelf.aliases, shelf.tags) == ({}, {})
        assert "content hash" in store.audit()[0].detail

    def test_an_operator_and_the_controller_never_mix(self, store: Store):
        world = World(store, 100, **PLAN)
        running = world.do("start")
        world.controller.tick()
        with pytest.raises(ConflictError):
            store.step_rollout(
                "rollout-1",
                lambda one, _: one,
                store.decisions("rollout-1")[0],
                generation=running.generation,
            )

    def test_a_fault_at_any_step_of_one_rollout_leaves_the_others_on_time(self, store: Store):
        world = World(store, 60, **PLAN)
        world.do("start")
        world.round()
        store.add_fleet(a_fleet("works"), "ada")
        store.add_devices([a_device(number, "works") for number in range(60)], world.now, "ada")
        store.set_baseline("works", "", OLD, world.now, "ada")
        store.add_rollout(a_rollout("rollout-0", "works", **PLAN), "ada")
        start = Decision("rollout-0", world.now, "start", "asked", "ada", 0)
        store.step_rollout("rollout-0", lambda one, _: life.start(one, world.now), start)
        failing = FailingFor(store, "works", "rollout-0")
        world.controller = Controller(failing, "one", lambda: world.now, faults=(faults := Faults()))
        failed: list[str] = []
        for state in (State.PROMOTING, State.RUNNING):
            assert store.rollout("rollout-0").state is state
            failing.fail_at = 0
            while True:
                failing.failed = ""
                world.round(seconds=5)
                if not failing.failed:
                    break
                assert [fault.subject for fault in faults.current()] == ["rollout-0"], failing.failed
                world.controller.tick()
                assert store.progress("rollout-1") == store.last_sequence("home"), failing.failed
                failed.append(failing.failed)
                failing.fail_at += 1
        assert {"members", "step_rollout", "observations", "save_observations"} <= set(failed)
        failing.fail_at = -1
        world.round()
        assert faults.current() == []
        assert store.rollout("rollout-0").wave > 0
        shown = [one for one in store.decisions("rollout-0", 1000) if one.action == "fault"]
        assert shown
        assert "disk full" in shown[0].reason


class FailingFor:
    """A store whose n-th call about one fleet's rollout fails, in every tick anew."""

    def __init__(self, store: Store, fleet: str, rollout: str) -> None:
        self._store, self._about = store, (fleet, rollout)
        self.fail_at, self._calls, self.failed = -1, 0, ""

    def __getattr__(self, name: str):
        method = getattr(self._store, name)

        def call(*given, **options):
            if name == "rollouts":
                self._calls = 0
            concerned = any(one in self._about or getattr(one, "rollout", "") in self._about for one in given)
            showing = name == "record_decision" and given[0].action == "fault"
            if concerned and not showing:
                self._calls += 1
                if self._calls > self.fail_at >= 0:
                    self.failed = name
                    raise OSError(f"disk full in {name}")
            return method(*given, **options)

        return call
