"""What a checkpoint is chosen by: enough episodes that chance does not choose it, however small the fleet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.validation import figures_after, validator


@pytest.mark.parametrize(
    ("algorithm", "devices", "draws"), [("joint", 3, 67), ("maml", 3, 2), ("joint", 0, 0)]
)
def test_a_small_fleet_s_model_is_judged_on_as_many_episodes_as_a_large_one_s(
    algorithm: str, devices: int, draws: int
) -> None:
    problem = open_problem(
        Recipe.model_validate(
            {
                "name": "waves",
                "data": {"source": "sinusoid", "options": {"tasks": 12}, "validation": devices},
                "model": {"options": {"hidden": [4]}},
                "learner": {"algorithm": algorithm},
            }
        )
    )
    judged, meta = validator(problem), problem.start()
    assert (judged is None) == (devices == 0)
    if judged is not None:
        episodes = [problem.validation_sampler().every_task(draw) for draw in range(draws)]
        expected = figures_after(problem, problem.learner(), meta, episodes)["loss"]
        assert judged(meta) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("algorithm", ["joint", "closed-form", "maml"])
def test_features_that_nobody_trains_are_measured_once_and_change_no_loss(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    rows, rng = np.arange(6 * 960), np.random.default_rng(0)
    tones = (1 + rows // 480 % 2) * (5 + rows // 960)  # two states of each machine
    frame = pd.DataFrame({"machine": rows // 960, "state": rows // 480 % 2, "t": rows})
    frame.assign(acc=np.sin(rows / tones) + rng.normal(0, 0.3, len(rows))).to_parquet(tmp_path / "a.parquet")
    columns = {"kind": "classification", "task": "machine", "time": "t", "label": "state"}
    columns |= {"timeline": "label"}
    problem = open_problem(
        Recipe.model_validate(
            {
                "name": "machines",
                "data": {
                    "source": str(tmp_path / "a.parquet"),
                    "recordings": {**columns, "channels": ["acc"], "window": 32},
                    "test": 1,
                    "validation": 2,
                },
                "episodes": {"shots": 2, "query_shots": 3},
                "model": {"name": "spectral"},
                "learner": {"algorithm": algorithm, "adapt_steps": 2},
            }
        )
    )
    judged, meta = validator(problem), problem.start()
    assert judged is not None
    found = judged(meta)
    with monkeypatch.context() as without:
        without.setattr("acclimate.training.validation._measured", lambda model, episodes: episodes)
        raw = validator(problem)
    assert raw is not None
    assert found == pytest.approx(raw(meta), rel=1e-5)
    with monkeypatch.context() as broken:
        broken.setattr("acclimate.models.spectral.Power.forward", None)  # nothing is measured anew
        assert judged(meta) == found
