"""The main job in this process with real MLflow: what it leaves behind, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.errors import RecipeError, RegistryError, TrainingError
from acclimate.home import home
from acclimate.registry import Registry
from acclimate.training.recipe import ModelSection, Recipe
from acclimate.training.recipe_file import load_recipe
from acclimate.workflow import evaluate_version, meta_train
from tests.support.listeners import Quiet

pytestmark = pytest.mark.slow


def recipe(**training: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "waves",
            "data": {"source": "sinusoid", "options": {"tasks": 200}, "test": 10},
            "training": {
                "steps": 6,
                "meta_batch": 4,
                "shard": 2,
                "workers": 0,
                "checkpoint_every": 2,
                **training,
            },
            "evaluation": {"shots": [5], "steps": [0, 1], "rates": [0.01], "long_steps": 2, "seeds": 2},
        }
    )


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_job_leaves_a_run_with_curves_and_files_and_a_version_with_its_lineage(tmp_path: Path) -> None:
    outcome = meta_train(recipe(), listener=Quiet())
    assert outcome is not None
    registry = Registry.open()
    [run] = registry.runs("waves")
    assert run.status == "FINISHED"
    assert run.metrics["mse.meta.5_shot"] == pytest.approx(outcome.evaluation.curve("meta", 5).judged.mean)
    assert len(registry.client.get_metric_history(run.run_id, "meta-0.loss")) == 6
    files = registry.download_run(run.run_id, tmp_path / "files")
    assert {"recipe.yaml", "data_report.json", "evaluation.json", "adaptation.png", "joint-1.pt"} <= {
        path.name for path in files.iterdir()
    }
    initialization, version = registry.fetch("waves")
    assert initialization.content_hash() == outcome.initialization.content_hash() == version.content_hash
    assert version.tags["recipe_hash"] == recipe().content_hash()
    assert version.tags["data_hash"]
    assert version.run_id == run.run_id
    assert registry.evaluation("waves") == json.loads(json.dumps(outcome.evaluation.as_json()))


def test_a_version_is_measured_again_to_the_same_figures() -> None:
    outcome = meta_train(recipe(), listener=Quiet())
    assert outcome is not None
    version, again = evaluate_version("waves", "candidate", listener=Quiet())
    assert (version, again) == (outcome.version, outcome.evaluation)
    _, further = evaluate_version("waves", "1", listener=Quiet(), changes=["evaluation.shots=[3]"])
    assert further.shots == (3, 5)  # the policy's own beside them
    told = CliRunner().invoke(cli, ["evaluate", "waves", "--json"])
    found = json.loads(told.stdout)
    assert found["verdict"] == outcome.verdict.as_json()
    shipped = found["next"]["command"]
    assert found["next"]["why"] if shipped is None else shipped.startswith("acclimate ")
    file = home() / "again.yaml"
    file.write_text(CliRunner().invoke(cli, ["recipes", "waves@1"]).stdout)
    assert load_recipe(str(file)) == recipe()
    with pytest.raises(RecipeError, match="only evaluation"):
        evaluate_version("waves", "1", listener=Quiet(), changes=["training.steps=3"])


def test_a_stopped_job_resumes_with_its_own_recipe_only_and_repeats_no_step(tmp_path: Path) -> None:
    whole = meta_train(recipe(), listener=Quiet())
    assert whole is not None
    first = Quiet()
    assert meta_train(recipe(), listener=first, should_stop=lambda: first.steps >= 9) is None
    assert Registry.open().runs("waves")[0].status == "KILLED"
    with pytest.raises(TrainingError, match=r"training\.optimizer\.lr: 0\.001 -> 0\.5"):
        meta_train(recipe(optimizer={"lr": 0.5}), listener=Quiet(), resume=True)
    second = Quiet()
    resumed = meta_train(recipe(workers=0, checkpoint_every=5), listener=second, resume=True)
    assert resumed is not None
    assert first.steps + second.steps == 4 * 6  # meta and joint for two seeds
    assert resumed.version.content_hash == whole.version.content_hash
    assert len(Registry.open().client.get_metric_history(resumed.version.run_id, "joint-0.loss")) == 6
    with pytest.raises(TrainingError, match="no unfinished run of 'waves'"):
        meta_train(recipe(), listener=Quiet(), resume=True)


def test_training_goes_on_from_a_registered_version():
    first = meta_train(recipe(), listener=Quiet())
    still = recipe(start="candidate", steps=1, optimizer={"lr": 1e-12})
    second = meta_train(still, listener=Quiet())
    assert first is not None
    assert second is not None
    for name, tensor in first.initialization.params.items():
        assert torch.allclose(second.initialization.params[name], tensor, atol=1e-6)
    # The alias has moved on since, so the run keeps the number.
    kept = Registry.open().document("waves", str(second.version.version), "recipe.yaml") or ""
    assert "start: 1" in kept


def test_a_start_that_does_not_fit_is_refused_before_training():
    meta_train(recipe(), listener=Quiet())
    other = recipe(start=1).model_copy(
        update={"model": ModelSection(name="mlp", options={"hidden": [8]})},
    )
    with pytest.raises(RecipeError, match=r"training\.start.*model"):
        meta_train(other, listener=Quiet())
    assert len(list((home() / "runs" / "waves").iterdir())) == 1
    with pytest.raises(RegistryError, match="9"):
        meta_train(recipe(start=9), listener=Quiet())


def test_a_resumed_job_keeps_the_version_it_started_from():
    meta_train(recipe(), listener=Quiet())
    stopped = Quiet()
    going_on = recipe(start="candidate")
    assert meta_train(going_on, listener=stopped, should_stop=lambda: stopped.steps >= 3) is None
    # Another version becomes the candidate meanwhile; it is no part of this run.
    assert meta_train(recipe().model_copy(update={"seed": 7}), listener=Quiet()) is not None
    assert Registry.open().version("waves", "candidate").version == 2
    resumed = meta_train(going_on, listener=Quiet(), resume=True)
    assert resumed is not None
    kept = Registry.open().document("waves", str(resumed.version.version), "recipe.yaml") or ""
    assert "start: 1" in kept
