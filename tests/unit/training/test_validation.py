"""What a checkpoint is chosen by: enough episodes that chance does not choose it, however small the fleet."""

from __future__ import annotations

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
