"""`acclimate submit` and `jobs` against a real Ray cluster of two nodes with token authentication."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.training.executor import InProcess
from acclimate.training.recipe import Recipe
from acclimate.workflow import phases
from tests.integration.training.test_same_bits import RECIPE, run
from tests.ray_cluster import Cable, RayCluster, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(600)]

STEPS = 1000  # long enough for the second node's worker to start and take part


def recipe(steps: int) -> Recipe:
    document = RECIPE.model_dump(mode="json")
    document["training"] |= {"steps": steps, "meta_batch": 4, "shard": 2, "checkpoint_every": 30}
    document["evaluation"] |= {"shots": [5], "steps": [0, 1], "rates": [0.01], "long_steps": 2, "draws": 1}
    document["baseline"] |= {"joint": False}
    return Recipe.model_validate(document)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    made = RayCluster(tmp_path_factory.mktemp("ray"))
    for name, steps in (("short", STEPS), ("long", 1_000_000)):
        (made.home / f"{name}.yaml").write_text(json.dumps(recipe(steps).model_dump(mode="json")))
    try:
        yield made
    finally:
        made.stop()


def test_a_node_dies_and_the_connection_drops_and_the_bits_are_those_of_a_local_run(
    cluster: RayCluster,
) -> None:
    node = cluster.add_node()
    cable = Cable(cluster.dashboard)
    following = cluster.acclimate(
        "submit", "short.yaml", "--workers", "2", url=f"http://127.0.0.1:{cable.port}"
    )
    assert following.stdout is not None
    shown = []
    for line in following.stdout:
        shown.append(line)
        if "step 100 of" in line:
            wait_until(lambda: "ray::RayWorker" in " ".join(cluster.processes(node)), "the node works")
            cable.cut()
            cluster.kill_node(node)
            cable.mend()
            break
    try:
        rest, said = following.communicate(timeout=300)
    finally:
        following.kill()
    log = "".join(shown) + rest
    assert following.returncode == 0, log + said
    assert "connection lost" in said
    expected = run(recipe(STEPS), InProcess(phases(recipe(STEPS))))
    assert expected in log

    [job] = finish(cluster.acclimate("jobs", "list", "--json"))
    assert (job["recipe"], job["state"]) == ("waves", "succeeded")
    again = cluster.acclimate("jobs", "logs", job["name"])
    assert again.communicate(timeout=60)[0] == log  # nothing was lost or repeated


def test_a_stopped_job_goes_on_where_it_was(cluster: RayCluster) -> None:
    job = finish(cluster.acclimate("submit", "long.yaml", "--workers", "1", "--json"))
    runs = cluster.home / "acclimate/runs/waves"
    wait_until(lambda: list(runs.glob("*/meta-0.pt")) and not finished(newest(runs)), "it trains")
    stopping = cluster.acclimate("jobs", "stop", job["name"])
    assert "--resume" in stopping.communicate(timeout=60)[1]
    wait_until(lambda: state(cluster, job["name"]) == "stopped", "it has stopped")
    assert cluster.acclimate("jobs", "logs", job["name"], "--follow").wait(60) == 1


def test_mistakes_are_told_in_a_line(cluster: RayCluster) -> None:
    assert "refuses the token" in refused(cluster.acclimate("jobs", "list", token="wrong"))
    assert "no job 'lost'" in refused(cluster.acclimate("jobs", "logs", "lost"))
    assert "no Ray Jobs API answers" in refused(cluster.acclimate("jobs", "list", url="http://127.0.0.1:9"))
    wrong = cluster.acclimate("train", "short.yaml", "--address", cluster.url)
    assert "acclimate submit --address" in refused(wrong)


def finish(process: subprocess.Popen[str]) -> Any:
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return json.loads(printed)


def refused(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    return said


def state(cluster: RayCluster, name: str) -> str:
    jobs = finish(cluster.acclimate("jobs", "list", "--json"))
    return next(job["state"] for job in jobs if job["name"] == name)


def newest(runs: Path) -> Path:
    return sorted(runs.iterdir())[-1]


def finished(run_directory: Path) -> bool:
    return (run_directory / "finished").exists()
