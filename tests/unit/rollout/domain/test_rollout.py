"""Every state against every step: which are possible, and what is said where one is not."""

from dataclasses import replace

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.plan import Wave
from acclimate.rollout.domain.rollout import ENDED, LIVE, OpenWave, Rollout, State
from tests.support.rollout_samples import NOW, a_rollout

OPEN = OpenWave(0.2, 0.2, NOW, 5)
STEPS = {
    "start": lambda one: life.start(one, NOW),
    "pause": lambda one: life.pause(one, NOW, 9),
    "resume": lambda one: life.resume(one, NOW, 9),
    "hold": lambda one: life.hold(one, NOW, "evidence"),
    "promote": lambda one: life.promote(one, NOW, approved=False),
    "open_wave": lambda one: life.open_wave(one, NOW, 9, 0.5, 0.2),
    "roll_back": lambda one: life.roll_back(one, NOW, 9),
    "rolled_back": lambda one: life.rolled_back(one, NOW),
    "abort": lambda one: life.abort(one, NOW),
}
TABLE = {
    State.DRAFT: {"start": "promoting", "abort": "aborted"},
    State.RUNNING: {
        "pause": "paused",
        "hold": "held",
        "promote": "promoting",
        "roll_back": "rolling_back",
    },
    State.PAUSED: {"resume": "running", "roll_back": "rolling_back"},
    State.HELD: {"pause": "paused", "hold": "held", "promote": "promoting", "roll_back": "rolling_back"},
    State.PROMOTING: {"pause": "paused", "open_wave": "running", "roll_back": "rolling_back"},
    State.ROLLING_BACK: {"rolled_back": "rolled_back"},
    State.DONE: {},
    State.ROLLED_BACK: {},
    State.ABORTED: {},
}


def at(state: State) -> Rollout:
    return replace(a_rollout(), state=state, opened=() if state is State.DRAFT else (OPEN,))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", STEPS)
def test_each_step_from_each_state(state: State, step: str):
    if step in TABLE[state]:
        after = STEPS[step](at(state))
        assert after.state == TABLE[state][step]
        assert after.generation == 1
    else:
        with pytest.raises(RolloutError, match=f"rollout-1 is {state.replace('_', ' ')} and cannot be"):
            STEPS[step](at(state))


def test_live_and_ended_divide_what_was_started():
    assert not LIVE & ENDED
    assert set(State) - {State.DRAFT} == LIVE | ENDED


def test_the_last_wave_leads_to_done_and_no_other():
    one_left = at(State.PROMOTING)
    with pytest.raises(RolloutError, match="waves left"):
        life.finish(one_left, NOW)
    last = replace(one_left, opened=(OPEN, replace(OPEN, canary=0.8)))
    assert life.finish(last, NOW).state is State.DONE
    with pytest.raises(RolloutError, match="no wave left"):
        life.open_wave(last, NOW, 9, 1.0, 0.2)


def test_cohorts_never_shrink():
    wider = life.open_wave(replace(at(State.PROMOTING), opened=(OPEN,)), NOW, 9, 0.1, 0.1)
    assert (wider.opened[-1].canary, wider.opened[-1].control) == (0.2, 0.2)
    first, second = replace(OPEN, canary=0.1, control=0.1), replace(OPEN, canary=0.5, control=0.3)
    plan = a_rollout(waves=(Wave(share=0.1), Wave(share=0.5), Wave(share=0.6))).plan
    third = replace(at(State.PROMOTING), plan=plan, opened=(first, second))
    assert life.open_wave(third, NOW, 9, 0.2, 0.2).opened[-1] == replace(second, revision=9)


def test_a_paused_start_resumes_to_its_start():
    paused = life.pause(life.start(a_rollout(), NOW), NOW, 7)
    assert life.resume(paused, NOW, 8).state is State.PROMOTING


def test_a_wave_that_needs_approval_opens_only_after_a_person_said_so():
    waves = (Wave(share=0.1), Wave(share=0.5, approval=True))
    running = replace(a_rollout(waves=waves), state=State.RUNNING, opened=(OPEN,))
    with pytest.raises(RolloutError, match="waits for a person"):
        life.promote(running, NOW, approved=False)
    approved = life.promote(running, NOW, approved=True)
    assert approved.state is State.PROMOTING
    paused_and_back = life.resume(life.pause(approved, NOW, 8), NOW, 9)
    assert life.promote(paused_and_back, NOW, approved=False).state is State.PROMOTING
