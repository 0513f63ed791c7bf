"""`compare` over a few sine waves: the same table twice, stopped and resumed, and a recipe that loads."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def test_a_candidate_that_diverges_is_named_and_stops_nobody(tmp_path: Path) -> None:
    """However many of its folds were trained before."""
    wild = RECIPE.model_copy(
        update={"learner": RECIPE.learner.model_copy(update={"algorithm": "maml", "inner_lr": 1e30})}
    )
    found = compare(wild, tmp_path, folds=3, learners=("maml",), workers=0)
    assert found is not None
    failed = [(entry.name, entry.failed) for entry in found.found.entries if entry.failed]
    assert [name for name, _ in failed] == ["maml on mlp"]
    assert "training diverged" in failed[0][1]
    assert found.found.recommended == found.found.best_rival
    assert found.found.verdict.sentence.startswith("No learner could be trained; ")


def test_a_label_of_one_device_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    rows = [f"{device},{x},{x % 2 if device != 'a' else x % 3}" for device in "abcdef" for x in range(20)]
    source = tmp_path / "fleet.csv"
    source.write_text("\n".join(["device,x,kind", *rows]))
    meaning = {"kind": "classification", "task": "device", "label": "kind", "channels": ["x"]}
    data = {"source": str(source), "recordings": meaning}
    fleet = Recipe.model_validate({**RECIPE.model_dump(), "name": "fleet", "data": data})
    with pytest.raises(DataError, match="every device out once"):
        compare(fleet, tmp_path / "one", workers=0)
    assert not (tmp_path / "one").exists()


def test_neither_other_data_nor_a_second_process_mix_into_a_comparison(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "fleet.csv"

    def record() -> None:
        rows = [f"{device},{x},{2 * x}" for device in "abcdef" for x in rng.normal(size=20)]
        source.write_text("\n".join(["device,x,y", *rows]))

    meaning = {"kind": "regression", "task": "device", "targets": ["y"], "channels": ["x"]}
    data = {"source": str(source), "recordings": meaning}
    fleet = Recipe.model_validate({**RECIPE.model_dump(), "name": "fleet", "data": data})
    options = {"folds": 3, "learners": ("maml",), "workers": 0}
    directory = tmp_path / "one"
    record()

    def second(*told: object) -> bool:
        with pytest.raises(TrainingError, match=f"by process {os.getpid()} on"):
            compare(fleet, directory, **options)
        return True

    assert compare(fleet, directory, should_stop=second, **options) is None
    record()
    with pytest.raises(TrainingError, match="other data"):
        compare(fleet, directory, **options)


def test_ctrl_c_says_how_to_go_on_with_the_same_comparison(tmp_path: Path) -> None:
    (tmp_path / "my waves.yaml").write_text(json.dumps(RECIPE.model_dump(mode="json")))
    given = ["--folds", "3", "--learner", "maml", "--workers", "0", "--set", "description=nine waves"]
    running = subprocess.Popen(
        [sys.executable, "-m", "acclimate", "compare", "my waves.yaml", *given],
        cwd=tmp_path,
        env={**os.environ, "ACCLIMATE_HOME": str(tmp_path / "home")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert running.stderr.readline().startswith("1 of 6")
    running.send_signal(signal.SIGINT)
    told = running.stderr.read()
    assert running.wait() == 130, told
    [following] = [line for line in told.splitlines() if line.startswith("next: ")]
    words = shlex.split(following.removeprefix("next: "), comments=True)
    assert words == ["acclimate", "compare", "my waves.yaml", "--resume", *given]


def test_two_devices_are_too_few(tmp_path: Path) -> None:
    data = RECIPE.data.model_copy(update={"options": {"tasks": 2}})
    with pytest.raises(DataError, match="record more"):
        compare(RECIPE.model_copy(update={"data": data}), tmp_path, workers=0)
