"""The driver settles how meta-gradients are computed, once, by the length of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.errors import ModelError
from acclimate.training.engine import pinned
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe


def problem(steps: int) -> Problem:
    return open_problem(
        Recipe.model_validate(
            {
                "name": "waves",
                "data": {"source": "sinusoid", "options": {"tasks": 20}},
                "model": {"options": {"hidden": [4]}},
                "training": {"steps": steps},
            }
        )
    )


def test_a_long_run_is_compiled_and_a_short_one_is_not() -> None:
    assert pinned(problem(100)).recipe.learner.compile == "off"
    long = pinned(problem(20_000))
    assert long.recipe.learner.compile == "on"
    assert long.learner().backend.name == "compiled"


def test_a_run_goes_on_as_it_began_or_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pinned(problem(20_000), "off").learner().backend.name == "plain"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert pinned(problem(20_000)).recipe.learner.compile == "off"
    with pytest.raises(ModelError, match=r"install g\+\+"):
        pinned(problem(20_000), "on")
