"""Drafts: waves that fit the fleet, and cohorts large enough for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout import operations
from acclimate.rollout.domain.cohort import added_canaries, position
from acclimate.rollout.domain.plan import Wave, default_waves
from acclimate.rollout.store import Store, open_store
from tests.support.rollout_samples import NOW, a_device, a_fleet, a_plan


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A fleet of sixty devices, ten of them at site A."""
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    store.add_fleet(a_fleet(), "ada")
    sites = [{"site": "A" if number < 10 else "B"} for number in range(60)]
    store.add_devices([a_device(number, attributes=site) for number, site in enumerate(sites)], NOW, "ada")
    yield store
    store.close()


def test_a_plan_without_waves_takes_those_that_fit_the_devices_it_targets(store: Store):
    everyone = operations.draft(store, a_plan(waves=()), "ada", NOW)
    assert everyone.plan.waves == default_waves(60)
    some = operations.draft(store, a_plan(waves=(), target='site == "A"'), "ada", NOW)
    assert some.plan.waves == default_waves(10)
    assert store.rollout(some.id).plan == some.plan


def test_a_wave_too_small_for_its_outcomes_is_refused_and_nothing_is_kept(store: Store):
    plan = a_plan(waves=(Wave(share=0.5, min_devices=20),), target='site == "A"')
    with pytest.raises(RolloutError, match=r"needs 20 canaries that report, and adds . of the 10 devices"):
        operations.draft(store, plan, "ada", NOW)
    assert store.rollouts() == []


def test_an_unlucky_draw_is_drawn_again(store: Store):
    plan = a_plan(waves=(Wave(share=0.5, min_devices=30),))
    devices = [member.id for member in store.members("home")]

    def added(drawn: str) -> int:
        return added_canaries(plan, [position(drawn, device) for device in devices])[0]

    unlucky = next(name for name in map(str, range(100)) if added(name) < 30)
    lucky = next(name for name in map(str, range(100)) if added(name) >= 30)
    assert operations.draft(store, plan, "ada", NOW, iter([unlucky, lucky]).__next__).id == lucky
