"""Cohorts: random, stable, disjoint, and of the size that was asked for."""

import pytest

from acclimate.rollout.domain.cohort import added_canaries, cohort, position, shortfall, thresholds
from acclimate.rollout.domain.plan import Wave
from acclimate.rollout.domain.rollout import OpenWave
from tests.support.rollout_samples import a_plan

PLACES = [position("r-1", f"device-{number}") for number in range(10_000)]


def test_positions_are_uniform_and_the_same_everywhere():
    assert position("r-1", "device-1") == 0.4262082332007639
    tenths = [sum(place // 0.1 == tenth for place in PLACES) for tenth in range(10)]
    assert all(900 < count < 1100 for count in tenths)


def test_two_rollouts_draw_independently():
    both = sum(
        place < 0.1 and position("r-2", f"device-{number}") < 0.1 for number, place in enumerate(PLACES)
    )
    assert 60 < both < 140


def test_a_share_takes_that_share_and_as_many_controls():
    opened = [OpenWave(*thresholds(Wave(share=0.02), 0.1, PLACES), 0.0, 1)]
    arms = [cohort(opened, place) for place in PLACES]
    assert 150 < arms.count(("canary", 1)) < 250
    assert 150 < arms.count(("control", 1)) < 250


@pytest.mark.parametrize("count", [1, 7, 100])
def test_a_count_takes_exactly_that_many_of_the_devices_known(count: int):
    canary, control = thresholds(Wave(count=count), 0.5, PLACES)
    assert sum(place < canary for place in PLACES) == count
    assert sum(place >= 1 - control for place in PLACES) == count


def test_a_count_beyond_the_fleet_takes_everyone_but_control_and_nobody_of_an_empty_one():
    canary, control = thresholds(Wave(count=50), 0.3, PLACES[:20])
    assert canary == pytest.approx(0.7)
    assert control == pytest.approx(0.3)
    assert thresholds(Wave(count=50), 0.3, []) == (0.0, 0.0)


def test_a_wave_of_everyone_leaves_control_in_place():
    canary, control = thresholds(Wave(share=1.0), 0.1, PLACES)
    opened = [OpenWave(0.05, 0.05, 0.0, 1), OpenWave(canary, control, 1.0, 2)]
    arms = [cohort(opened, place) for place in PLACES]
    assert None not in arms
    assert {arm for arm, _ in filter(None, arms)} == {"canary", "control"}


def test_a_place_on_the_edge_is_of_control_and_never_of_both():
    opened = [OpenWave(0.25, 0.25, 0.0, 1), OpenWave(0.5, 0.5, 1.0, 2)]
    at = {place: cohort(opened, place) for place in (0.0, 0.25, 0.5, 0.75)}
    assert at == {0.0: ("canary", 1), 0.25: ("canary", 2), 0.5: ("control", 2), 0.75: ("control", 1)}
    assert cohort(opened[:1], 0.25) is None


def test_a_later_wave_never_moves_a_device_of_an_earlier_one():
    first = [OpenWave(0.1, 0.1, 0.0, 1)]
    second = [*first, OpenWave(0.5, 0.2, 1.0, 2)]
    for place in PLACES:
        if cohort(first, place):
            assert cohort(second, place) == cohort(first, place)


@pytest.mark.parametrize("waves", [(Wave(share=0.1), Wave(share=1.0)), (Wave(count=7), Wave(share=0.3))])
def test_what_a_wave_will_add_is_what_it_adds_once_it_is_open(waves: tuple[Wave, ...]):
    plan, places = a_plan(waves=waves), PLACES[:500]
    opened = [
        OpenWave(*thresholds(wave, plan.control_share, places), 0.0, number)
        for number, wave in enumerate(waves)
    ]
    arms = [cohort(opened, place) for place in places]
    assert added_canaries(plan, places) == [arms.count(("canary", 1)), arms.count(("canary", 2))]


def test_a_wave_that_could_never_pass_is_named_with_the_remedy():
    passable = a_plan(waves=(Wave(count=5, min_devices=5), Wave(share=0.5, min_devices=20)))
    assert shortfall(passable, PLACES[:60]) is None
    small = a_plan(waves=(Wave(count=5, min_devices=5), Wave(count=12, min_devices=20)))
    assert str(shortfall(small, PLACES[:60])) == (
        "wave 2 (12 devices) could never pass: it needs 20 canaries that report, and adds 7 of the 60 "
        "devices targeted; make it larger, or min_devices at most 7"
    )
    assert shortfall(small, []) is None, "devices may enrol before it starts"
    everyone = a_plan(waves=(Wave(share=0.8), Wave(share=1.0)), control_share=0.2)
    assert str(shortfall(everyone, PLACES[:60])).endswith("adds 0 of the 60 devices targeted; make it larger")
