"""What is chosen after training: forgetting, intervals and temperature, on devices that judge nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from acclimate.learners import ClosedFormLearner, MetaParams, under
from acclimate.training.calibration import calibrated
from acclimate.training.finishing import GAMMAS, LEVELS, finished
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe

DEVICES, ROWS = 10, 240


def problem_of(tmp_path: Path, drift: float, kind: str = "regression") -> Problem:
    """Devices whose own gains wander by `drift` a row: y = gains of two inputs, and noise."""
    rng = np.random.default_rng(0)
    columns: dict[str, list[object]] = {name: [] for name in ("device", "t", "a", "b", "y", "label")}
    for device in range(DEVICES):
        gains = rng.normal(size=2)
        for row in range(ROWS):
            gains = gains + drift * rng.normal(size=2)
            x = rng.normal(size=2)
            y = float(x @ gains + 0.1 * rng.normal())
            values = (f"d{device}", float(row), *map(float, x), y, "up" if y > 0 else "down")
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    path = tmp_path / "fleet.parquet"
    pq.write_table(pa.table(columns), path)
    what = {"targets": ["y"]} if kind == "regression" else {"label": "label"}
    declared = {"kind": kind, "task": "device", "time": "t", "channels": ["a", "b"], "window": 1, **what}
    return open_problem(
        Recipe.model_validate(
            {
                "name": "fleet",
                "data": {"source": str(path), "recordings": declared, "test": 3, "validation": 3},
                "episodes": {"shots": 20, "query_shots": 20},
                "model": {"name": "mlp", "options": {"hidden": [8], "activation": "tanh"}},
                "learner": {"algorithm": "closed-form"},
            }
        )
    )


def chosen(problem: Problem) -> dict[str, torch.Tensor]:
    return finished(problem, problem.warm_start(problem.start()))


def test_a_device_that_wanders_forgets_and_one_that_stays_does_not(tmp_path: Path) -> None:
    still, wandering = (chosen(problem_of(tmp_path, drift))["prior.last.forgetting"] for drift in (0.0, 0.2))
    assert float(still) == GAMMAS[0] == 1.0
    assert float(wandering) < 0.999


def test_intervals_cover_what_they_say_on_devices_nobody_looked_at(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0)
    meta, learner = chosen(problem), problem.learner()
    assert isinstance(learner, ClosedFormLearner)
    episode = problem.sampler(problem.split.test).every_task(0)
    after = learner.adapt(meta, episode.support)[1]
    variance = learner.heads.variance(under(after, "state."), learner.features(after, episode.query.x))
    errors = (learner.predict(after, episode.query.x) - episode.query.y).abs() / variance.sqrt()
    for column, level in enumerate(LEVELS[:3]):
        reach = meta["prior.noise"] * meta["prior.interval"][:, column]
        assert float((errors <= reach).float().mean()) == pytest.approx(level, abs=0.2)


def test_classes_get_a_temperature_and_heads_their_rates(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0, "classification")
    meta = chosen(problem)
    assert 0.5 <= float(meta["prior.temperature"]) <= 4.0
    assert {float(meta[f"prior.{head}.forgetting"]) for head in ("last", "means")} <= {
        float(torch.tensor(gamma)) for gamma in GAMMAS
    }
    again = problem.initialization(meta)
    assert set(again.prior) == set(under(meta, "prior."))


def test_a_head_that_is_far_too_sure_of_itself_does_not_speak_for_the_other(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0, "classification")
    learner, sure = problem.learner(), problem.warm_start(problem.start())
    assert isinstance(learner, ClosedFormLearner)
    sure["prior.means.scale"] = sure["prior.means.scale"] + 4.0  # as if 55 times as certain
    episode = problem.sampler(problem.split.validation).every_task(0)
    counts = episode.query.w > 0

    def losses(meta: MetaParams) -> dict[str, float]:
        after = learner.adapt(meta, episode.support)[1]
        prior, features = under(meta, "prior."), learner.features(after, episode.query.x)
        answers = learner.heads.answers(prior, under(after, "state."), features)
        both = {**answers, "both": learner.heads.mixed(prior, under(after, "state."), features)}
        labels = episode.query.y[counts]
        return {
            name: float(torch.nn.functional.cross_entropy(answer[counts], labels))
            for name, answer in both.items()
        }

    before, after = losses(sure), losses(calibrated(learner, sure, [episode], (1.0,)))
    assert all(after[name] <= before[name] + 1e-6 for name in before)
    assert after["means"] < 0.5 * before["means"]
    # By hand: logits divided by a temperature are the log probabilities divided by it, normalized again.
    state = under(learner.adapt(sure, episode.support)[1], "state.")
    prior, features = under(sure, "prior."), learner.features(sure, episode.query.x)
    told = learner.heads.answers(prior, state, features)
    for name in learner.heads.names:
        cooler = learner.heads.tempered(prior, name, 3.0)
        answer = learner.heads.answers({**prior, **cooler}, state, features)[name]
        torch.testing.assert_close(answer, (told[name] / 3.0).log_softmax(-1), rtol=1e-4, atol=1e-5)


def test_a_prior_too_wide_for_devices_to_come_is_narrowed(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0)
    learner, meta = problem.learner(), problem.warm_start(problem.start())
    assert isinstance(learner, ClosedFormLearner)
    wide = meta | {
        f"prior.{name}": one
        for name, one in learner.heads.widened(under(meta, "prior."), "last", 30.0).items()
    }
    before, after = (learner.start(each)["last.cov"] for each in (meta, wide))
    torch.testing.assert_close(after, 30.0 * before, rtol=1e-4, atol=1e-6)
    episodes = [problem.sampler(problem.split.validation).every_task(draw) for draw in range(3)]

    def loss(of: MetaParams) -> float:
        told = [learner.predict(learner.adapt(of, one.support)[1], one.query.x) for one in episodes]
        return float(sum(((y - one.query.y) ** 2).mean() for y, one in zip(told, episodes, strict=True)))

    for begin in (meta, wide):
        assert loss(calibrated(learner, begin, episodes)) <= loss(begin) + 1e-6


def test_other_learners_are_left_as_they_are(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0)
    plain = problem.again(
        problem.recipe.model_copy(
            update={"learner": problem.recipe.learner.model_copy(update={"algorithm": "maml"})}
        )
    )
    meta = plain.start()
    assert finished(plain, meta) is meta
