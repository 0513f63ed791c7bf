"""Assignments: what each kind of device is told, and counters that rise exactly when that changes."""

from dataclasses import replace

from acclimate.rollout.domain.assignment import Assignment, assign, baseline_of, with_baseline
from acclimate.rollout.domain.cohort import position
from acclimate.rollout.domain.fleet import Baseline, next_revision
from acclimate.rollout.domain.rollout import OpenWave, Rollout, State
from tests.support.rollout_samples import NEW, NOW, OLD, a_fleet, a_rollout

FLEET = a_fleet(revision=20, floor=3, baselines=(Baseline(OLD, 2),))
BY_PLACE = sorted((f"device-{number}" for number in range(200)), key=lambda one: position("rollout-1", one))
CANARY, NEITHER, CONTROL = BY_PLACE[0], BY_PLACE[100], BY_PLACE[-1]


def at(state: State, **fields: object) -> Rollout:
    rollout = replace(a_rollout(), state=state, opened=(OpenWave(0.1, 0.1, NOW, 10),))
    return replace(rollout, **fields)


def told(rollout: Rollout | None, device: str, **attributes: str) -> Assignment:
    return assign(FLEET, rollout, device, attributes, revision=1)


def test_both_arms_reseed_at_the_same_counter_and_the_others_run_on():
    assert told(at(State.RUNNING), CANARY) == Assignment("reset", NEW, 10, "rollout-1", "canary", 1)
    assert told(at(State.RUNNING), CONTROL) == Assignment("reset", OLD, 10, "rollout-1", "control", 1)
    assert told(at(State.RUNNING), NEITHER) == Assignment("run", OLD, 3)


def test_nothing_differs_while_held_or_promoting():
    for state in (State.HELD, State.PROMOTING):
        assert told(at(state), CANARY) == told(at(State.RUNNING), CANARY)


def test_a_pause_holds_both_arms_where_they_are():
    paused = at(State.PAUSED, touched=15)
    assert told(paused, CANARY) == Assignment("hold", None, 15, "rollout-1", "canary", 1)
    assert told(paused, CONTROL).action == "hold"
    assert told(paused, NEITHER) == Assignment("run", OLD, 3)


def test_a_roll_back_returns_canaries_under_a_higher_counter():
    assert told(at(State.ROLLING_BACK, touched=15), CANARY) == Assignment(
        "run", OLD, 15, "rollout-1", "canary", 1
    )


def test_a_rollout_that_is_not_live_or_not_aimed_at_a_device_leaves_it_alone():
    for state in (State.DRAFT, State.DONE, State.ROLLED_BACK, State.ABORTED):
        assert told(at(state), CANARY) == Assignment("run", OLD, 3)
    aimed = at(State.RUNNING, plan=replace(a_rollout().plan, target='site == "A"'))
    assert told(aimed, CANARY, site="B") == Assignment("run", OLD, 3)
    assert told(aimed, CANARY, site="A").release == NEW


def test_a_device_without_a_baseline_keeps_what_it_has():
    bare = replace(FLEET, baselines=())
    assert assign(bare, None, CANARY, {}, 1) == Assignment("hold", None, 3)
    assert assign(bare, at(State.RUNNING), CONTROL, {}, 1).action == "hold"
    assert assign(bare, at(State.RUNNING), CANARY, {}, 1).release == NEW


def test_a_device_whose_attributes_changed_is_told_under_its_own_revision():
    assert assign(FLEET, None, NEITHER, {}, revision=18).counter == 18


def test_a_device_that_two_machines_are_is_held_whatever_rolls_out():
    for rollout in (None, at(State.RUNNING), at(State.ROLLING_BACK), at(State.PAUSED)):
        held = assign(FLEET, rollout, CANARY, {}, 99, doubled=True)
        assert held == Assignment("hold", None, 99)


def test_the_latest_baseline_that_matches_wins_and_the_list_stays_short():
    fleet = with_baseline(FLEET, 'site == "A"', NEW, 30)
    assert baseline_of(fleet, {"site": "A"}) == Baseline(NEW, 30, 'site == "A"')
    assert baseline_of(fleet, {"site": "B"}) == Baseline(OLD, 2)
    assert fleet.floor == fleet.revision == 30
    assert len(with_baseline(fleet, 'site == "A"', OLD, 31).baselines) == 2
    assert with_baseline(fleet, "", NEW, 32).baselines == (Baseline(NEW, 32),)


def test_revisions_rise_even_if_the_clock_or_the_database_goes_back():
    assert next_revision(5, now=1.0) == 1000
    assert next_revision(5000, now=1.0) == 5001
