"""`acclimate submit` and `jobs` against a real Ray cluster of two nodes with token authentication."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from acclimate.errors import AcclimateError
from acclimate.training.checkpoint import load_checkpoint
from acclimate.training.executor import InProcess
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.workflow import phases
from tests.integration.training.test_same_bits import PHASE, RECIPE, run
from tests.support.ray_cluster import WORKER, Cable, RayCluster, wait_until

pytestmark = pytest.mark.slow

STEPS = 600  # long enough for both nodes to take part, and for a stop to come in time


def recipe() -> Recipe:
    document = RECIPE.model_dump(mode="json")
    document["training"] |= {"steps": STEPS, "meta_batch": 4, "shard": 2, "checkpoint_every": 30}
    document["evaluation"] |= {"shots": [5], "steps": [0, 1], "rates": [0.01], "long_steps": 2, "draws": 1}
    document["baseline"] |= {"joint": False}
    return Recipe.model_validate(document)


@cache
def bits_of_a_local_run() -> str:
    return run(recipe(), InProcess(phases(open_problem(recipe()))))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    home = tmp_path_factory.mktemp("ray")
    (home / "waves.yaml").write_text(json.dumps(recipe().model_dump(mode="json")))  # JSON is YAML
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        made = RayCluster(home)
        try:
            yield made
        finally:
            made.stop()


def test_a_node_dies_the_connection_drops_it_is_stopped_and_resumed_and_the_bits_are_those_of_a_local_run(
    cluster: RayCluster,
) -> None:
    cable = Cable(cluster.dashboard)
    url = f"http://127.0.0.1:{cable.port}"
    following = cluster.acclimate("submit", "waves.yaml", "--workers", "2", url=url)
    assert following.stdout is not None
    assert following.stderr is not None
    expected = bits_of_a_local_run()  # while the job starts
    log = ""
    with following:
        for line in following.stdout:
            log += line
            if f"step {STEPS // 10} of" in line:
                wait_until(lambda: "ray::RayWorker" in " ".join(cluster.processes(WORKER)), "the node works")
                cable.cut()
                cluster.kill_node(WORKER)
                cable.mend()
                [job] = printed(cluster, "jobs", "list", "--json")
            if f"step {STEPS // 5} of" in line:
                assert "--resume" in cluster.invoke("jobs", "stop", job["name"]).output
        said = following.stderr.read()
    assert following.returncode == 1, log + said
    assert "connection lost" in said

    [job] = printed(cluster, "jobs", "list", "--json")
    assert (job["recipe"], job["state"]) == ("waves", "stopped")
    again = cluster.invoke("jobs", "logs", job["name"])
    assert again.stdout == log  # nothing was lost or repeated
    [checkpoint] = (cluster.home / "acclimate" / "runs" / "waves").glob(f"*/{PHASE}.pt")
    assert 0 < load_checkpoint(checkpoint).step < STEPS

    resumed = cluster.invoke("submit", "waves.yaml", "--workers", "1", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert f"step {STEPS // 10} of" not in resumed.stdout, "it began anew"
    assert expected in resumed.stdout
    assert {job["state"] for job in printed(cluster, "jobs", "list", "--json")} == {"stopped", "succeeded"}


def test_mistakes_are_told_in_a_line(cluster: RayCluster) -> None:
    assert "refuses the token" in refused(cluster, "jobs", "list", token="wrong")
    assert "no job 'lost'" in refused(cluster, "jobs", "logs", "lost")
    assert "no Ray Jobs API answers" in refused(cluster, "jobs", "list", url="http://127.0.0.1:9")
    assert "acclimate submit --address" in refused(cluster, "train", "waves.yaml", "--address", cluster.url)


def printed(cluster: RayCluster, *arguments: str) -> Any:
    done = cluster.invoke(*arguments)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return json.loads(done.stdout)


def refused(cluster: RayCluster, *arguments: str, url: str | None = None, token: str | None = None) -> str:
    told = cluster.invoke(*arguments, url=url, token=token).exception
    assert isinstance(told, AcclimateError), repr(told)
    return str(told)
