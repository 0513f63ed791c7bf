"""`compare` over a few sine waves: the same table twice, stopped and resumed, and a recipe that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from acclimate.cli.compare import compare as command
from acclimate.errors import DataError, TrainingError
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import load_recipe
from acclimate.workflow import compare

pytestmark = pytest.mark.slow

RECIPE = Recipe.model_validate(
    {
        "name": "waves",
        "data": {"source": "sinusoid", "options": {"tasks": 9}},
        "episodes": {"shots": 5, "query_shots": 10},
        "model": {"options": {"hidden": [8]}},
        "learner": {"inner_lr": 0.02, "inner_steps": 1},
        "training": {"steps": 4, "meta_batch": 4, "shard": 4},
        "evaluation": {"steps": [0, 1], "rates": [0.01], "long_steps": 2, "draws": 1},
    }
)
LEARNERS = ("maml", "closed-form")


def test_a_stopped_comparison_resumes_to_the_table_of_a_whole_one(tmp_path: Path) -> None:
    whole = compare(RECIPE, tmp_path / "whole", folds=3, learners=LEARNERS, workers=0)
    assert whole is not None
    done: list[str] = []
    options = {"folds": 3, "learners": LEARNERS, "workers": 0}
    stopped = compare(
        RECIPE,
        tmp_path / "stopped",
        should_stop=lambda: len(done) >= 4,
        on_job=lambda name, *counts: done.append(name),
        **options,
    )
    assert (stopped, len(done)) == (None, 4)
    with pytest.raises(TrainingError, match="another recipe"):
        compare(RECIPE, tmp_path / "stopped", **{**options, "folds": 4})
    again: list[str] = []
    resumed = compare(
        RECIPE, tmp_path / "stopped", on_job=lambda name, *counts: again.append(name), **options
    )
    assert resumed is not None
    assert (len(again), set(again) & set(done)) == (5, set())
    assert resumed.found == whole.found
    found = whole.found
    assert found.devices == 9
    assert sorted(found.tasks) == sorted(f"sinusoid-{number}" for number in range(9))
    assert {entry.learner for entry in found.entries if entry.start == "meta"} == set(LEARNERS)
    assert found.entry(found.best_rival).gain == 0.0
    assert (tmp_path / "whole" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_writes_a_recipe_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("waves.yaml").write_text(json.dumps(RECIPE.model_dump(mode="json")))  # JSON is YAML
    ran = CliRunner().invoke(
        command, ["waves.yaml", "--folds", "3", "--learner", "maml", "--workers", "2", "--json"]
    )
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert document["verdict"]["sentence"]
    assert document["recommended"] in {entry["name"] for entry in document["entries"]}
    if document["recipe"]:  # None where a simple rival is enough
        assert load_recipe(document["recipe"]).data == RECIPE.data


def test_two_devices_are_too_few(tmp_path: Path) -> None:
    data = RECIPE.data.model_copy(update={"options": {"tasks": 2}})
    with pytest.raises(DataError, match="record more"):
        compare(RECIPE.model_copy(update={"data": data}), tmp_path, workers=0)
