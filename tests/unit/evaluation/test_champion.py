"""The gate between two measured starts: hand-made figures, then real starts on sinusoids."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from acclimate.challenge import as_learner, measure
from acclimate.errors import ModelError
from acclimate.evaluation import Evaluation, Requirement, challenge
from acclimate.evaluation.report import Curve
from acclimate.evaluation.statistics import summarize
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe

RECIPE = Recipe.model_validate(
    {
        "name": "waves",
        "data": {"source": "sinusoid", "options": {"tasks": 50}, "test": 6},
        "learner": {"algorithm": "meta-sgd", "inner_lr": 0.02, "inner_steps": 3},
    }
)


def measured(values: list[float], metric: str = "accuracy") -> Evaluation:
    tasks = tuple(f"task {index}" for index in range(len(values)))
    better = metric == "accuracy"
    point = summarize(np.array(values), tasks, better)
    return Evaluation(metric, better, 5, 1, tasks, 3, (), "", (Curve("meta", 5, (1,), (point,), 0),), ())


def test_the_gain_is_paired_by_task_and_its_worst_task_is_named() -> None:
    verdict = challenge(measured([0.9, 0.8, 0.7]), measured([0.8, 0.75, 0.72]), Requirement())
    assert verdict.passed
    assert verdict.gain == pytest.approx(0.13 / 3)
    # Student's t with two degrees of freedom: 4.3027 standard errors.
    half = 4.302653 * np.std([0.1, 0.05, -0.02], ddof=1) / 3**0.5
    assert (verdict.low, verdict.high) == pytest.approx((verdict.gain - half, verdict.gain + half))
    assert (verdict.tasks_better, verdict.worst_task) == (2, "task 2")
    assert verdict.worst_gain == pytest.approx(-0.02)
    assert "gain +0.0433" in verdict.reason


def test_an_error_counts_the_other_way_round() -> None:
    assert not challenge(measured([0.3, 0.4], "mse"), measured([0.2, 0.3], "mse"), Requirement()).passed
    assert challenge(measured([0.2, 0.3], "mse"), measured([0.3, 0.4], "mse"), Requirement()).passed


def test_proof_asks_for_the_whole_interval_and_a_tolerance_lets_a_small_loss_through() -> None:
    better, worse = measured([0.9, 0.8, 0.7]), measured([0.8, 0.75, 0.72])
    assert not challenge(better, worse, Requirement(proven=True)).passed
    assert challenge(better, worse, Requirement(minimum_gain=-0.2, proven=True)).passed
    assert not challenge(worse, better, Requirement()).passed
    assert challenge(worse, better, Requirement(minimum_gain=-0.05)).passed


def test_a_start_that_overflowed_does_not_pass() -> None:
    verdict = challenge(measured([0.9, float("nan")], "mse"), measured([1.0, 1.0], "mse"), Requirement())
    assert not verdict.passed
    assert verdict.worst_task == "task 1"


def test_what_overflowed_is_null_in_a_challenge_s_json() -> None:
    verdict = challenge(measured([np.inf, 0.2], "mse"), measured([0.3, 0.3], "mse"), Requirement())
    document = json.loads(json.dumps(verdict.as_json(), allow_nan=False))
    assert document["challenger"] is None
    assert not document["passed"]


@pytest.mark.parametrize(
    "change",
    [{"tasks": ("a", "b")}, {"draws": 1}, {"policy_shots": 1}, {"metric": "mse"}],
    ids=lambda change: next(iter(change)),
)
def test_figures_of_other_episodes_are_not_compared(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(change))):
        challenge(measured([0.9, 0.8]), replace(measured([0.9, 0.8]), **change), Requirement())


def test_an_initialization_is_measured_as_the_learner_that_made_it() -> None:
    problem = open_problem(RECIPE)
    learner, meta = problem.learner(), problem.start()
    for name in meta:
        if name.startswith("rate."):
            meta[name] = meta[name] * 0.5
    start = problem.initialization(meta)
    episodes = problem.sampler(problem.split.test, 5).every_task(0)
    again, same = as_learner(start)
    for ours, theirs in zip(
        again.adapt(same, episodes.support, 3), learner.adapt(meta, episodes.support, 3), strict=True
    ):
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    figures = measure(problem, start)
    assert len(figures.tasks) == 6
    assert challenge(figures, measure(problem, start), Requirement()).gain == 0.0
