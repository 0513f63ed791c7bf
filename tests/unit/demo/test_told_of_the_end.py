"""Who ended a rollout is read from the decisions, not guessed from how long it took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate.demo.happened import RolledOut
from acclimate.demo.narration import rolled_out
from acclimate.rollout.domain.evidence import Decision
from acclimate.rollout.domain.rollout import State
from acclimate.simulation import Outcome
from tests.support.rollout_samples import a_rollout


def ended(state: State, *decisions: tuple[str, str]) -> RolledOut:
    made = [Decision("r-1", 10.0 * at, action, "", actor, 1) for at, (action, actor) in enumerate(decisions)]
    return RolledOut(replace(a_rollout(), state=state), (), tuple(made), 0.0, 60.0)


@pytest.mark.parametrize(
    ("state", "decisions", "by_hand"),
    [
        (State.ROLLED_BACK, [("start", "token:1"), ("roll_back", "controller")], False),
        (State.ROLLED_BACK, [("start", "token:1"), ("rollback", "token:1")], True),
        (State.ROLLED_BACK, [("roll_back", "controller"), ("rollback", "token:1")], False),
        (State.DONE, [("start", "token:1"), ("promote", "controller")], False),
        (State.DONE, [("promote", "controller"), ("promote", "token:1")], True),
    ],
)
def test_a_hand_is_told_of_where_there_was_one(state, decisions, by_hand):
    result = ended(state, *decisions)
    assert result.by_hand == by_hand
    told = " ".join(rolled_out(result, Outcome("demo", 0, 0.0), spoiled=True).paragraphs)
    assert ("by hand" in told) == by_hand
