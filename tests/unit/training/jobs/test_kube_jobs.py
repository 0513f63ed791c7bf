"""The real `kubernetes` client, and the commands over it, against an API server over HTTP."""

import json
import re
import threading
import time

import pytest
from click.testing import CliRunner

from acclimate.cli.jobs import jobs
from acclimate.cli.submit import submit
from acclimate.errors import TrainingError
from acclimate.training.jobs.following import follow
from acclimate.training.jobs.job import JobState, Order
from acclimate.training.jobs.kube_jobs import KubeJobs
from acclimate.training.jobs.rayjob import Pods
from acclimate.training.recipe_file import load_recipe
from tests.support.kube_api import KubeApi, serving

PODS = Pods("acclimate-trainer:1", "2.60.0")


@pytest.fixture
def api(tmp_path, monkeypatch):
    with serving() as made:
        monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig(tmp_path / "kubeconfig")))
        yield made


def submitted(name="watch-1", pods=PODS):
    cluster = KubeJobs(pods)
    cluster.submit(Order(name, load_recipe("watch")))
    return cluster


def test_a_job_is_followed_from_waiting_to_its_end_over_a_broken_connection(api: KubeApi):
    cluster = submitted()
    shown, states = [], []

    def on_state(job):
        states.append((job.state, job.detail))
        if len(states) == 1:
            api.status("watch-1", jobDeploymentStatus="Initializing")
        elif len(states) == 2:
            api.run("watch-1", "one", "two")
            api.broken_logs = 1

    def on_trouble(message):
        api.logs["watch-1-x7f2p"] += ["", "three", None]
        api.status(
            "watch-1", jobStatus="SUCCEEDED", jobDeploymentStatus="Complete", endTime="2026-01-31T10:05:00Z"
        )

    job = follow(
        cluster, "watch-1", shown.append, on_state=on_state, on_trouble=on_trouble, sleep=lambda seconds: None
    )
    assert [line for line in "".join(shown).split("\n") if line] == ["one", "two", "three"]
    assert states == [
        (JobState.PENDING, "waiting for KubeRay"),
        (JobState.PENDING, "Initializing"),
        (JobState.RUNNING, ""),
        (JobState.SUCCEEDED, ""),
    ]
    assert (job.recipe, str(job.ended - job.started)) == ("watch", "0:04:59")


def test_calls_that_fail_on_the_way_are_told_apart_from_refusals(api: KubeApi, tmp_path, monkeypatch):
    cluster = submitted()
    with pytest.raises(TrainingError, match="no job 'lost' is in namespace 'training'"):
        cluster.get("lost")
    api.knows_rayjobs = False
    with pytest.raises(TrainingError, match="install the KubeRay operator"):
        cluster.submit(Order("watch-2", load_recipe("watch")))
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "stranger", token="no")))
    with pytest.raises(TrainingError, match=r"refuses.*Unauthorized"):
        KubeJobs(None).all()
    with pytest.raises(TrainingError, match="no context 'production': it has here"):
        KubeJobs(None, context="production")
    with pytest.raises(TrainingError, match="no context 'there': did you mean 'here'"):
        KubeJobs(None, context="there")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(TrainingError, match="set KUBECONFIG"):
        KubeJobs(None)


def test_a_stopped_job_gives_its_cluster_back(api: KubeApi):
    cluster = submitted()
    cluster.stop("watch-1")
    assert api.jobs["watch-1"]["spec"]["suspend"] is True
    assert cluster.get("watch-1").state is JobState.STOPPED
    cluster = submitted("watch-2", Pods("trainer:1", "2.60.0", ray_cluster="standing"))
    cluster.stop("watch-2")
    assert "watch-2" not in api.jobs  # KubeRay cannot suspend what runs on a standing cluster


def test_a_failed_job_says_why(api: KubeApi):
    cluster = submitted()
    api.status("watch-1", jobDeploymentStatus="Failed", message="the image cannot be pulled")
    job = cluster.get("watch-1")
    assert (job.state, job.detail) == (JobState.FAILED, "the image cannot be pulled")


def test_the_commands_submit_follow_list_read_and_stop(api: KubeApi):
    options = [
        "--kubernetes",
        "--image",
        "trainer:9",
        "--workers",
        "3",
        "--secret-env",
        "PASSWORD=mlflow:password",
    ]

    def operator():
        while not api.jobs:
            time.sleep(0.01)
        [name] = api.jobs
        api.run(name, "step 24 of 240", None)
        api.status(name, jobStatus="SUCCEEDED")

    playing = threading.Thread(target=operator, daemon=True)
    playing.start()
    done = CliRunner().invoke(submit, ["watch", *options])
    assert done.exit_code == 0, done.output
    assert "step 24 of 240" in done.output
    [(name, manifest)] = api.jobs.items()
    assert re.fullmatch(r"watch-\d{8}-\d{6}-[0-9a-f]{4}", name)
    assert "workers: 3" in manifest["spec"]["runtimeEnvYAML"]
    assert "trainer:9" in json.dumps(manifest)

    [listed] = json.loads(invoke(jobs, "list", "--kubernetes", "--json"))
    assert (listed["name"], listed["state"]) == (name, "succeeded")
    assert invoke(jobs, "logs", name, "--kubernetes") == "step 24 of 240\n"
    assert "already succeeded" in invoke(jobs, "stop", name, "--kubernetes")


def test_a_dry_run_prints_the_manifest_and_submits_nothing(api: KubeApi):
    assert "kind: RayJob" in invoke(submit, "watch", "--kubernetes", "--dry-run")
    assert api.requests == []


def invoke(command, *arguments):
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout
