"""A watch: what a tick reads, in which portions, and what it never misses."""

from pathlib import Path

import pytest

from acclimate.rollout import watch as module
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.store import open_store
from acclimate_device.protocol import Start
from tests.support.rollout_world import PLAN, World


def test_a_flood_of_reports_is_read_in_portions_and_nobody_is_called_silent_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PAGE", 7)
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    world = World(store, 60, **PLAN | {"silence_s": 100.0})
    world.do("start")
    world.until(State.RUNNING)
    world.round(1.0)
    world.now += 500.0  # long past the deadline, with all reports still unread
    for _ in range(30):
        world.controller.tick()
    found = store.observations("rollout-1")
    assert found
    assert all(one.order is not None and not one.silence for one in found)
    assert store.progress("rollout-1") == store.last_sequence("home")
    store.close()


def test_a_report_that_overtakes_its_telling_still_counts(tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    world = World(store, 60, **PLAN)
    tell, told = store.record_taken, []
    store.record_taken = told.extend  # written down only later
    world.do("start")
    world.until(State.RUNNING)
    world.now += 1
    world.controller.tick()
    found = {one.device: one for one in store.observations("rollout-1")}
    assert found
    assert set(found) == {one.device for one in told}
    tell(told)
    assert {one.device: one for one in store.observations("rollout-1")} == found
    store.close()


def test_what_two_machines_with_one_identity_showed_counts_nowhere(tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    world = World(store, 60, **PLAN)
    world.do("start")
    world.until(State.RUNNING)
    for _ in range(3):
        world.round(1.0)
    settled = [one.device for one in store.observations("rollout-1") if one.order is not None]
    watched = [one.device for one in store.observations("rollout-1") if one.order is None]
    held = {*settled[:2], *watched[:1]}
    assert len(settled) > 4
    for device in held:
        store.start("home", device, Start("a" * 32, 5, "1" * 64), world.now)
        store.start("home", device, Start("b" * 32, 5, "2" * 64), world.now)
    for _ in range(3):
        world.round(1.0)
    assert held.isdisjoint(one.device for one in store.observations("rollout-1"))
    theirs, fresh = world.controller._watches["rollout-1"], module.Watch(store, world.rollout)
    assert theirs.tally.settled == fresh.tally.settled
    assert theirs.evidence() == fresh.evidence()
    for device in held:
        store.resolve_device("home", device, world.now, "ada")
    for _ in range(3):
        world.round(1.0)
    assert held <= {one.device for one in store.observations("rollout-1")}, "they take part anew"
    store.close()
