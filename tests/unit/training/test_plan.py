"""Nothing that another plan began is gone on with: the keys that differ are named, or the version."""

from __future__ import annotations

from pathlib import Path

import pytest

import acclimate
from acclimate.errors import TrainingError
from acclimate.training.plan import keep_plan

PLAN = {"recipe": {"training": {"steps": 3}}, "folds": 5, "candidates": ("maml",)}


def test_the_same_plan_goes_on_and_another_names_what_differs(tmp_path: Path) -> None:
    keep_plan(tmp_path, PLAN, "another search")
    keep_plan(tmp_path, PLAN, "another search")
    with pytest.raises(TrainingError, match=r"holds another search:\n  folds: 5 -> 4\nset these back"):
        keep_plan(tmp_path, {**PLAN, "folds": 4}, "another search")
    keep_plan(tmp_path, PLAN, "another search")


def test_after_an_upgrade_the_version_is_named_and_no_recipe_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(acclimate, "__version__", "0.0.9")
        keep_plan(tmp_path, PLAN, "another search")
    with pytest.raises(TrainingError, match=r"begun by acclimate 0\.0\.9, and this is .* finish it with"):
        keep_plan(tmp_path, PLAN, "another search")
    (tmp_path / "plan.json").write_text('["a hash", "another"]')
    with pytest.raises(TrainingError, match="an older acclimate"):
        keep_plan(tmp_path, PLAN, "another search")
