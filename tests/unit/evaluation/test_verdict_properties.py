"""Whatever an evaluation holds, there is a verdict, and its sentence says what its figures say."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.evaluation import Evaluation, Verdict, judge
from acclimate.evaluation.contenders import LABELS, Start
from acclimate.evaluation.evaluate import comparisons
from acclimate.evaluation.report import Curve, comparison_sentence, headline, table, worst_sentence
from acclimate.evaluation.statistics import summarize, units_to_decide

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # figures that overflowed are expected

SHARES = st.floats(0, 1)
# Errors as float32 has them: nothing, next to nothing, huge units, and what overflowed.
ERRORS = st.one_of(
    st.floats(0, 3), st.sampled_from([0.0, 5e-324, 1e-300, 1e-30, 1e9, 3e38, math.nan, math.inf])
)
DEVICES = 12
METRICS = ("accuracy", "average_precision", "mse", "mae")


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    metric = draw(st.sampled_from(METRICS))
    better = metric in METRICS[:2]
    number = draw(st.integers(1, 14))
    tasks = tuple(f"task {each}" for each in range(number))
    groups = draw(st.sampled_from([(), tasks, ("ann", "ben") * 7]))[:number]
    values = SHARES if better else ERRORS
    if draw(st.booleans()):  # devices and contenders that are equal
        values = st.sampled_from(draw(st.lists(values, min_size=1, max_size=2)))
    row, draws = st.lists(values, min_size=number, max_size=number), draw(st.integers(0, 2))
    rivals = draw(st.lists(st.sampled_from([each for each in LABELS if each != "meta"]), unique=True))
    curves = []
    for start in ("meta", *rivals):
        steps = draw(st.sampled_from([(0,), (0, 1), (0, 1, 5, 50), (1,)]))
        points = tuple(summarize(np.array(draw(row)), tasks, better, groups) for _ in steps)
        curves.append(
            Curve(
                start,
                5,
                steps,
                points,
                draw(st.integers(0, len(steps) - 1)),
                validation=draw(st.none() | SHARES),
                draws=tuple(tuple(draw(row)) for _ in range(draws)),
            )
        )
    pairs = tuple(comparisons(curves, better, groups))
    days = draw(st.none() | st.floats(0.01, 1000))
    return Evaluation(
        metric, better, 5, 5, tasks, max(1, draws), (0,), "", tuple(curves), pairs, groups, days
    )


@settings(max_examples=150, deadline=None)
@given(evaluations())
def test_there_is_a_verdict_and_its_sentence_agrees_with_its_figures(evaluation: Evaluation) -> None:
    verdict = judge(evaluation)
    assert judge(Evaluation.from_json(json.loads(json.dumps(evaluation.as_json())))) == verdict
    json.dumps(verdict.as_json(), allow_nan=False)
    said = verdict.sentence
    assert said.endswith(".")
    assert not re.search(r"\bnan|\binf|\b1 (devices|days|shots|steps|tasks)|\b([2-9]|\d\d+) device\b", said)
    assert verdict.few == (evaluation.devices < 8)
    if verdict.few:
        assert verdict.ship == "record-more"
    if verdict.ship in ("start", "record-more") and "overflowed" not in said:
        assert verdict.loses_to is None
    _check_figures(evaluation, verdict)
    _check_reports(evaluation)


def _check_figures(evaluation: Evaluation, verdict: Verdict) -> None:
    said = verdict.sentence
    told = re.search(r"(\S+?)(?: points)? (better|worse) \(95 % interval (\S+) to (\S+), \d+ devices\)", said)
    if told is None:
        quiet = (
            "neither better nor worse",
            "one device: no interval",
            "overflowed",
            "alone.",
            "it is the",
            "Look at the data",
        )
        assert any(each in said for each in (*quiet, "adapting it brought nothing")), said
        return
    scale = 100.0 if evaluation.metric == "accuracy" else 1.0
    size, direction, low, high = told.groups()
    assert (direction == "better") == (verdict.gain >= 0)
    for word, figure in ((size, abs(verdict.gain)), (low, verdict.low), (high, verdict.high)):
        assert float(word) == pytest.approx(scale * figure, rel=0.01)
    certain = "certainly" in said or not said.startswith("Ship this start")
    assert certain or verdict.low > 0


def _check_reports(evaluation: Evaluation) -> None:
    """Nothing beside the verdict fails either."""
    for sentence in (headline(evaluation, 5), worst_sentence(evaluation, 5)):
        assert sentence
    for each in evaluation.comparisons:
        assert "of 1 tasks" not in comparison_sentence(evaluation, each)
    assert len(table(evaluation, 5)[1]) == len(evaluation.starts)


@pytest.mark.parametrize("devices", [3, 12])
def test_a_start_that_overflowed_anywhere_is_never_shipped(devices: int) -> None:
    """However bad the others are."""
    tasks = tuple(map(str, range(devices)))
    own = np.full(devices, 0.1)
    own[1] = np.inf
    rows: dict[Start, np.ndarray] = {"meta": own, "joint": np.full(devices, 1e6)}
    curves = tuple(
        Curve(start, 5, (0,), (summarize(row, tasks, False),), 0, validation=float(row[0]))
        for start, row in rows.items()
    )
    verdict = judge(Evaluation("mse", False, 5, 1, tasks, 1, (0,), "", curves, (), tasks))
    assert verdict.loses_to == "joint"
    assert f"this start overflowed on 1 of {devices} held-out tasks" in verdict.sentence
    assert verdict.ship == ("record-more" if devices == 3 else "joint")
    assert "95 %" not in verdict.sentence


def test_where_everybody_overflowed_the_data_are_to_blame() -> None:
    """One device counts in other units."""
    tasks = tuple(map(str, range(DEVICES)))
    row = np.full(DEVICES, 0.1)
    row[3] = np.inf
    curves = tuple(
        Curve(start, 5, (0,), (summarize(row, tasks, False),), 0) for start in ("meta", "joint", "support")
    )
    verdict = judge(Evaluation("mse", False, 5, 1, tasks, 1, (0,), "", curves, (), tasks))
    assert verdict.sentence == (
        "Look at the data, for every rival overflowed: "
        "this start overflowed on 1 of 12 held-out tasks, such as 3."
    )
    assert verdict.ship == "record-more"


def test_a_gain_of_next_to_nothing_needs_more_devices_than_there_are() -> None:
    assert units_to_decide(np.array([1.0, -1.0, 1e-200]), 0.0) is None
