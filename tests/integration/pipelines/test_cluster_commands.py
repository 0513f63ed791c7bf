"""`acclimate pipeline run|schedule|list|status|stop`: Kubeflow's real client against a stub of its API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from click.testing import CliRunner

from acclimate.cli import pipeline as commands
from acclimate.cli.main import cli
from acclimate.errors import AcclimateError, TrainingError
from tests.support.stub_kubeflow import TOKEN, StubKubeflow, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubKubeflow]:
    monkeypatch.setenv("ACCLIMATE_KFP_TOKEN", TOKEN)
    monkeypatch.setattr(commands, "LOOK_S", 0.01)
    with serving(StubKubeflow()) as served:
        monkeypatch.setenv("ACCLIMATE_KFP_HOST", served.url)
        yield served


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["pipeline", *arguments])
    if isinstance(result.exception, AcclimateError):
        raise result.exception
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def parameters(made: dict[str, dict[str, dict[str, object]]]) -> dict[str, object]:
    return made["runtime_config"]["parameters"]


def test_a_run_carries_the_recipe_and_is_followed_to_its_end(stub: StubKubeflow) -> None:
    told = json.loads(
        run(
            "run",
            "watch",
            "--set",
            "seed=3",
            "--fleet",
            "wrists",
            "--tag",
            "trigger=drift",
            "--wait",
            "--json",
        )
    )
    assert told["state"] == "SUCCEEDED"
    assert told["url"].startswith(f"{stub.url}/#/runs/details/")
    (made,) = stub.runs
    given = parameters(made)
    assert yaml.safe_load(str(given["recipe"]))["seed"] == 3
    assert (given["fleet"], given["champion"], given["proven"]) == ("wrists", "champion", False)
    assert given["tags"] == {"trigger": "drift"}
    assert given["data_as_of"], "another moment: data are read again"
    assert "gate" in json.dumps(made["pipeline_spec"])
    assert "watch" in run("list")


def test_as_of_lets_kubeflow_reuse_what_is_kept(stub: StubKubeflow) -> None:
    run("run", "watch", "--as-of", "monday")
    assert parameters(stub.runs[0])["data_as_of"] == "monday"


def test_a_run_that_fails_ends_the_command_with_its_reason(stub: StubKubeflow) -> None:
    stub.states = ("RUNNING", "FAILED")
    with pytest.raises(TrainingError, match="failed: step meta-train failed"):
        run("run", "watch", "--wait")


def test_a_schedule_replaces_the_one_of_its_name_and_looks_at_the_data_each_time(stub: StubKubeflow) -> None:
    run("schedule", "watch", "--cron", "0 3 * * 1")
    run("schedule", "watch", "--cron", "30 0 4 * * 1")
    (kept,) = stub.schedules
    assert kept["trigger"]["cron_schedule"]["cron"] == "30 0 4 * * 1"
    assert (kept["max_concurrency"], kept["no_catchup"]) in ((1, True), ("1", True))
    tasks = kept["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    assert not any(one.get("cachingOptions", {}).get("enableCache") for one in tasks.values())
    assert json.loads(run("list", "--json"))["schedules"][0]["name"] == "watch"
    run("unschedule", kept["recurring_run_id"])
    assert stub.schedules == []


def test_stop_and_status(stub: StubKubeflow) -> None:
    identity = json.loads(run("run", "watch", "--json"))["id"]
    run("stop", identity)
    assert json.loads(run("status", identity, "--json"))["state"] == "CANCELED"


def test_mistakes_are_told_in_one_line(stub: StubKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="Run r-77 not found"):
        run("status", "r-77")
    with pytest.raises(TrainingError, match="has 3 fields"):
        run("schedule", "watch", "--cron", "0 3 *")
    monkeypatch.setenv("ACCLIMATE_KFP_TOKEN", "wrong")
    with pytest.raises(TrainingError, match="ACCLIMATE_KFP_TOKEN"):
        run("run", "watch")
    monkeypatch.setenv("ACCLIMATE_KFP_HOST", "http://127.0.0.1:1")
    with pytest.raises(TrainingError, match="--local"):
        run("run", "watch")
    monkeypatch.delenv("ACCLIMATE_KFP_HOST")
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(TrainingError, match="--host"):
        run("run", "watch")
