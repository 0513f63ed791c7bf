"""What is chosen after training: forgetting, intervals and temperature, on devices that judge nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from acclimate.learners import ClosedFormLearner, under
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


def test_other_learners_are_left_as_they_are(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 0.0)
    plain = problem.again(
        problem.recipe.model_copy(
            update={"learner": problem.recipe.learner.model_copy(update={"algorithm": "maml"})}
        )
    )
    meta = plain.start()
    assert finished(plain, meta) is meta
