"""`acclimate tune` with real Ray Tune: it finds what is better and never looks at the test tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from acclimate.cli.tune import tune
from acclimate.training.recipe_file import load_recipe
from tests.integration.training.test_same_bits import RECIPE

pytestmark = pytest.mark.slow


def test_the_tuned_recipe_has_the_best_values_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    document = RECIPE.model_dump(mode="json")
    document["learner"] |= {"inner_lr": 1e-6}  # as good as no adaptation
    document["training"] |= {"steps": 100}
    source, target = tmp_path / "waves.yaml", tmp_path / "tuned.yaml"
    source.write_text(json.dumps(document))  # JSON is YAML
    options = [
        "--trials",
        "4",
        "--inner-lr",
        "0.005",
        "0.05",
        "--workers",
        "2",
        "--output",
        str(target),
        "--json",
    ]
    done = CliRunner().invoke(tune, [str(source), *options])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    own = next(trial for trial in found["trials"] if trial["inner_lr"] == 1e-6)
    best = found["best"]
    assert len(found["trials"]) == 4
    assert best == found["trials"][0]
    assert best["loss"] < own["loss"]
    assert [trial["loss"] for trial in found["trials"]] == sorted(trial["loss"] for trial in found["trials"])
    assert "trial 4 of 4" in done.stderr
    tuned = load_recipe(str(target))
    assert (tuned.learner.inner_lr, tuned.learner.inner_steps) == (best["inner_lr"], best["inner_steps"])
    assert tuned.data == RECIPE.data  # the validation tasks were set aside for the search alone

    again = CliRunner().invoke(tune, [str(source), *options, "--resume"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["trials"] == found["trials"]
    other = CliRunner().invoke(tune, [str(source), *options, "--set", "training.meta_batch=2", "--resume"])
    assert other.exit_code != 0
    assert "another recipe" in str(other.exception)
