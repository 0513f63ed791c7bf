"""Decisions: promote, hold, roll back or wait, from the same evidence in every state."""

from dataclasses import replace

import pytest

from acclimate.rollout.domain.decide import decide
from acclimate.rollout.domain.evidence import Action, GateEvidence, Verdict
from acclimate.rollout.domain.plan import Wave
from acclimate.rollout.domain.rollout import OpenWave, Rollout, State
from tests.support.rollout_samples import NOW, a_rollout

WAVES = (Wave(share=0.1, duration_s=60, timeout_s=600, min_devices=10), Wave(share=0.5, approval=True))


def gate(verdict: Verdict) -> GateEvidence:
    return GateEvidence("loss", verdict, f"loss says {verdict.value}", 0.05, 10, 10)


def at(state: State, **fields: object) -> Rollout:
    rollout = replace(a_rollout(waves=WAVES), state=state, opened=(OpenWave(0.1, 0.1, NOW, 5),), approved=2)
    return replace(rollout, **fields)


PASS, HARM, DOUBT = gate(Verdict.PASS), gate(Verdict.HARM), gate(Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("state", "evidence", "settled", "age", "action"),
    [
        (State.RUNNING, [PASS], 10, 60, Action.PROMOTE),
        (State.RUNNING, [PASS], 10, 59, Action.WAIT),  # not watched for long enough
        (State.RUNNING, [PASS], 9, 60, Action.WAIT),  # too few devices
        (State.RUNNING, [PASS, DOUBT], 10, 60, Action.WAIT),
        (State.RUNNING, [PASS, DOUBT], 10, 600, Action.HOLD),
        (State.RUNNING, [PASS], 0, 600, Action.HOLD),
        (State.RUNNING, [], 10, 60, Action.WAIT),  # no gate, no data
        (State.RUNNING, [PASS, HARM], 10, 1, Action.ROLL_BACK),  # harm waits for nothing
        (State.HELD, [PASS], 10, 900, Action.PROMOTE),  # evidence may come late
        (State.HELD, [DOUBT], 10, 900, Action.WAIT),
        (State.HELD, [HARM], 10, 900, Action.ROLL_BACK),
        (State.PAUSED, [PASS], 10, 900, Action.WAIT),
        (State.PAUSED, [HARM], 10, 900, Action.ROLL_BACK),
        (State.ROLLING_BACK, [HARM], 10, 900, Action.WAIT),
        (State.DONE, [HARM], 10, 900, Action.WAIT),
        (State.DRAFT, [PASS], 10, 900, Action.WAIT),
    ],
)
def test_what_follows(state: State, evidence: list[GateEvidence], settled: int, age: float, action: Action):
    conclusion = decide(at(state), evidence, settled, NOW + age)
    assert conclusion.action is action
    assert conclusion.reason


def test_a_wave_without_its_approval_is_held_once():
    unapproved = at(State.RUNNING, approved=1)
    held = decide(unapproved, [PASS], 10, NOW + 60)
    assert (held.action, held.held_for) == (Action.HOLD, "approval")
    waiting = at(State.HELD, approved=1, held_for="approval")
    assert decide(waiting, [PASS], 10, NOW + 60).action is Action.WAIT


def test_the_reason_names_every_obstacle():
    reason = decide(at(State.RUNNING), [DOUBT], 3, NOW + 5).reason
    assert "5 of 60 s" in reason
    assert "3 of 10 canaries" in reason
    assert "loss says inconclusive" in reason


def test_each_wave_is_judged_by_its_own_rules_and_from_its_own_opening():
    waves = (
        WAVES[0],
        Wave(share=0.5, duration_s=30, timeout_s=90, min_devices=4),
        Wave(share=1.0, approval=True),
    )
    second = replace(
        a_rollout(waves=waves),
        state=State.RUNNING,
        opened=(OpenWave(0.1, 0.1, NOW - 1000, 5), OpenWave(0.5, 0.1, NOW, 6)),
    )
    early = decide(second, [PASS], 3, NOW + 29)
    assert (early.action, early.reason) == (
        Action.WAIT,
        "29 of 30 s watched; 3 of 4 canaries of wave 2 have reported",
    )
    late = decide(second, [], 4, NOW + 90)
    assert (late.action, late.reason) == (Action.HOLD, "no verdict after 90 s: there is no evidence")
    early_days = replace(second, opened=(OpenWave(0.1, 0.1, 0.0, 5), OpenWave(0.5, 0.1, 40.0, 6)))
    assert decide(early_days, [], 4, 130.0).action is Action.HOLD
    assert decide(early_days, [PASS], 3, 69.0).reason.startswith("29 of 30 s watched")
    held = decide(second, [PASS], 4, NOW + 30)
    assert held.reason == "every gate passes; wave 3 waits for a person's approval"
    assert (
        decide(replace(second, approved=3), [PASS], 4, NOW + 30).reason == "every gate passes: wave 3 opens"
    )
    third = replace(second, opened=(*second.opened, OpenWave(0.9, 0.1, NOW, 7)), approved=3)
    assert decide(third, [PASS], 1, NOW + 1e6).reason == "every gate passes: the rollout is complete"
