"""The whole pipeline on real recordings: Kubeflow's local runner, MLflow on SQLite, a TUF repository and the
real service on loopback. Each step is a process of its own, as on a cluster."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.initialization import Initialization
from acclimate.registry import Registry
from acclimate.training.recipe_file import load_recipe, to_yaml
from acclimate_pipelines import delivery_steps, signing_step, training_steps
from tests.support.serving import ADMIN, Served

# Nine processes that each load torch: minutes where many others run beside them.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SMALL = (
    "training.steps=4",
    "training.workers=0",
    "training.checkpoint_every=2",
    "model.options.filters=8",
    "training.optimizer.lr=0.0005",  # so small that going on from a version still finds a better one
    "evaluation.shots=[5]",
    "evaluation.steps=[0,1]",
    "evaluation.draws=1",
    "evaluation.rates=[0.1]",
    "evaluation.long_steps=2",
    "evaluation.rivals=false",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that knows the registry; where registry, repository and keys are is in the environment."""
    home = tmp_path_factory.mktemp("pipeline")
    made = CliRunner().invoke(
        cli, ["repo", "init", str(home / "tuf"), "--keys", str(home / "keys"), "--unencrypted"]
    )
    assert made.exit_code == 0, made.output
    service = Served(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("ACCLIMATE_HOME", str(home))
        patch.setenv("ACCLIMATE_TUF_DIRECTORY", str(home / "tuf"))
        patch.setenv("ACCLIMATE_SIGNING_KEYS", str(home / "keys"))
        patch.setenv("ACCLIMATE_URL", service.url)
        patch.setenv("ACCLIMATE_TOKEN", ADMIN)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        service.start(ACCLIMATE_REGISTRY_URI=f"sqlite:///{home / 'mlflow.db'}")
        httpx.post(
            f"{service.url}/api/v1/fleets", json={"name": "wrists"}, headers=service.admin
        ).raise_for_status()
        yield service
        service.stop()


def test_steps_work_without_kubeflow_and_the_first_version_becomes_the_baseline(
    served: Served, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("tasks", "checkpoints", "start", "bundle")]
    tasks, checkpoints, start, bundle = folders
    files = [
        tmp_path / name for name in ("report.json", "page.md", "evaluation.json", "page.html", "gate.json")
    ]
    report, page, evaluation, picture, verdict = files
    shown = training_steps.prepare(to_yaml(load_recipe("watch", SMALL)), tasks)
    assert int(shown["tasks"]) > 10
    training_steps.report(tasks, report, page)
    assert "tasks of" in page.read_text()
    run_id = training_steps.meta_train(tasks, checkpoints, start)
    assert training_steps.meta_train(tasks, checkpoints, start) == run_id, "tried again: nothing to do"
    figures = training_steps.evaluate(tasks, checkpoints, evaluation, picture)
    assert 0 < figures["accuracy.meta.5_shot"] <= 1
    assert "data:image/png" in picture.read_text()
    gated = training_steps.gate(tasks, start, evaluation, "champion", 0.0, False, verdict)
    assert gated.passed
    assert "nothing to be better than" in gated.reason
    reference = training_steps.register(tasks, start, evaluation, report, verdict, run_id, {})
    assert reference == "watch@1"
    assert training_steps.register(tasks, start, evaluation, report, verdict, run_id, {}) == reference
    again = training_steps.gate(tasks, start, evaluation, "1", 0.0, False, verdict)
    assert (again.passed, again.figures["gain"]) == (True, 0.0), "a version is as good as itself"
    assert not training_steps.gate(tasks, start, evaluation, "1", 0.01, False, verdict).passed
    assert signing_step.export_and_sign(reference, bundle) == "watch@1"
    assert delivery_steps.roll_out("wrists", "watch@1", {}) == ""
    other = tmp_path / "from-1"
    training_steps.prepare(to_yaml(load_recipe("watch", (*SMALL, "training.start=latest"))), other)
    further = training_steps.meta_train(other, tmp_path / "checkpoints-from-1", tmp_path / "start-from-1")
    assert further != run_id, "another version to start from is another run"
    hashes = [Initialization.load(folder).content_hash() for folder in (start, tmp_path / "start-from-1")]
    assert hashes[0] != hashes[1]
    named = (other, tmp_path / "start-from-1", evaluation, report, verdict, further, {})
    assert training_steps.register(*named) == "watch@2"
    assert Registry.open().version("watch", "2").tags["start"] == "1", "the number, not the alias"
    version = Registry.open().version("watch", "1")
    assert version.tags["data_source"] == "watch"
    assert version.tags["recipe_hash"] == load_recipe("watch", SMALL).content_hash()


def test_from_recordings_to_champion_in_one_command(served: Served, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("waves: [{share: 1.0, duration_s: 0, min_devices: 1}]\n")
    command = ["pipeline", "run", "watch", "--local", "--json", "--fleet", "wrists", "--champion", "1"]
    command += [
        "--minimum-gain",
        "-1",
        "--plan",
        str(plan),
        "--watch-hours",
        "0.05",
        "--tag",
        "trigger=drift",
    ]
    for change in (*SMALL, "seed=1"):
        command += ["--set", change]
    stop = threading.Event()
    operator = threading.Thread(target=_promote_whatever_runs, args=(served, stop))
    operator.start()
    try:
        result = CliRunner().invoke(cli, command)
    finally:
        stop.set()
        operator.join()
    assert result.exit_code == 0, result.stderr[-3000:] + repr(result.exception)
    told = json.loads(result.stdout)
    print(f"the pipeline's nine steps took {told['seconds']} s")
    version = Registry.open().version("watch", "3")
    assert told["version"]["version"] == 3
    assert version.tags["parent_version"] == "1"
    assert version.tags["trigger"] == "drift"
    assert "held-out tasks" in version.tags["gate"]
    assert version.tags["field.result"] == "done"
    assert "champion" in version.aliases
    pages = [path.read_text() for path in Path(told["artifacts"]).rglob("page")]
    assert any("watch version 3 on wrists: done" in page for page in pages)


def test_a_step_that_fails_is_named_and_has_said_why(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["pipeline", "run", "watch", "--local", "--set", "data.options.window=1000000"]
    result = CliRunner().invoke(cli, command)
    assert "prepare" in str(result.exception)
    told = result.stderr + capfd.readouterr().err
    assert "event=failed step=prepare" in told
    assert "Traceback" not in told


def _promote_whatever_runs(served: Served, stop: threading.Event) -> None:
    """The fleet has no device that could report: a person lets the waves pass."""
    api = httpx.Client(base_url=f"{served.url}/api/v1", headers=served.admin)
    while not stop.wait(0.5):
        for found in api.get("/rollouts").json():
            if "promote" in found["operations"]:
                api.post(f"/rollouts/{found['rollout']['id']}/promote", json={"reason": "no devices yet"})
