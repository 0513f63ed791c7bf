"""One recipe, one result: with any number of real Ray workers, some of them killed, and a killed driver."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import pytest

from acclimate.learners import MetaParams
from acclimate.training import pace
from acclimate.training.executor import InProcess, TaskWorkers
from acclimate.training.loop import OuterState, train
from acclimate.training.problem import Problem, open_problem
from acclimate.training.ray_connection import connected
from acclimate.training.ray_pool import RayPool
from acclimate.training.recipe import LearnerSection, Recipe
from acclimate.training.recipe_file import load_recipe
from acclimate.training.validation import validator
from acclimate.workflow import chosen_initialization, phases
from tests.support.ray_cluster import descendants

pytestmark = pytest.mark.slow

RECIPE = Recipe.model_validate(
    {
        "name": "waves",
        "data": {"source": "sinusoid", "options": {"tasks": 500}, "test": 10},
        "learner": {"algorithm": "maml", "inner_lr": 0.01, "inner_steps": 2},
        "training": {"steps": 12, "meta_batch": 12, "shard": 2, "checkpoint_every": 4},
    }
)
CLOSED_FORM = RECIPE.model_copy(update={"learner": LearnerSection(algorithm="closed-form")})
RECIPES = {"maml": RECIPE, "closed-form": CLOSED_FORM}
PHASE = "meta-0"


def run(recipe: Recipe, workers: TaskWorkers, on_step: Callable[[int], None] = lambda step: None) -> str:
    """The content hash of the initialization that `workers` train."""
    problem = open_problem(recipe)
    validate = validator(problem)
    state = OuterState.begin(start_of(problem), recipe.training.optimizer)
    train(
        recipe,
        state,
        partial(workers.compute, PHASE),
        validate=validate,
        on_step=lambda report: on_step(report.step),
        on_checkpoint=lambda state: None,
        should_stop=lambda: False,
    )
    assert state.best is not None
    metas = dict.fromkeys(planned(recipe), state.best.meta)
    return chosen_initialization(problem, metas).content_hash()


def planned(recipe: Recipe) -> dict[str, Recipe]:
    return phases(open_problem(recipe))


def start_of(problem: Problem) -> MetaParams:
    """New parameters; closed-form heads begin on a joint model, here an untrained one."""
    return problem.warm_start(problem.start()) if problem.recipe.closed_form else problem.start()


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray for the tests that only need workers of it."""
    with connected(None, 4):
        yield


@cache
def expected(learner: str = "maml") -> str:
    recipe = RECIPES[learner]
    return run(recipe, InProcess(planned(recipe)))


def test_a_ray_of_our_own_listens_to_this_machine_alone(ray_here: None) -> None:
    ours = {str(pid) for pid in [os.getpid(), *descendants(os.getpid())]}
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    found = [line.split()[3] for line in listening.splitlines() if ours & set(re.findall(r"pid=(\d+)", line))]
    assert found
    assert all(address.startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:", "[::1]:")) for address in found), (
        found
    )


@pytest.mark.parametrize(("learner", "workers"), [("maml", 1), ("maml", 2), ("maml", 4), ("closed-form", 3)])
def test_any_number_of_workers_gives_the_same_bits(ray_here: None, learner: str, workers: int) -> None:
    with RayPool(planned(RECIPES[learner]), workers) as pool:
        assert run(RECIPES[learner], pool) == expected(learner)


def test_leaders_add_up_for_the_driver_and_may_die(ray_here: None) -> None:
    """Three leaders of two, two and one workers, as a pool of more than 64 has them of 32."""
    with RayPool(planned(RECIPE), 5, group=2) as pool:
        before = descendants(os.getpid())

        def kill(step: int) -> None:
            if step == 4:
                os.kill(pool.pids()[0], signal.SIGKILL)
            if step == 8:
                for pid in set(descendants(os.getpid())) - set(before) - set(pool.pids()):
                    name = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if name.startswith(b"ray::RayWorker"):
                        os.kill(pid, signal.SIGKILL)
                        break

        assert run(RECIPE, pool, kill) == expected()


def test_killed_workers_are_replaced_and_leave_no_trace(ray_here: None) -> None:
    with RayPool(planned(RECIPE), 2) as pool:
        before = pool.pids()

        def kill(step: int) -> None:
            if step == 4:
                os.kill(pool.pids()[0], signal.SIGKILL)
            if step == 8:
                for pid in pool.pids():
                    os.kill(pid, signal.SIGKILL)

        assert run(RECIPE, pool, kill) == expected()
        assert set(before).isdisjoint(pool.pids())


def test_a_worker_that_hangs_delays_nobody_and_is_replaced(
    ray_here: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_HUNG_LEAST_S", 3.0)
    hung: list[int] = []
    waited: dict[int, float] = {}

    def stop(step: int) -> None:
        waited[step] = time.monotonic()
        if step == 4:
            hung.append(pool.pids()[0])
            os.kill(hung[0], signal.SIGSTOP)
        if step == RECIPE.training.steps - 1:  # before the last step: until it is noticed as hung
            time.sleep(4)

    with RayPool(planned(RECIPE), 2) as pool:
        assert run(RECIPE, pool, stop) == expected()
        assert hung[0] not in pool.pids()
    said = [(record.getMessage(), getattr(record, "pid", None)) for record in caplog.records]
    assert ("worker-is-late-and-its-shards-go-to-others", hung[0]) in said
    assert ("worker-hangs-and-is-replaced", hung[0]) in said
    print(
        f"a step took {waited[4] - waited[3]:.2f} s, the one with a hung worker {waited[5] - waited[4]:.2f} s"
    )


def test_another_seed_gives_other_bits() -> None:
    other = RECIPE.model_copy(update={"seed": 1})
    assert run(other, InProcess(planned(other) | {PHASE: other})) != expected()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `acclimate train` on the recipe as a process of its own, in a home of its own."""
    recipe = tmp_path / "waves.yaml"
    document = RECIPE.model_dump(mode="json")
    document["training"] |= {"steps": 400, "meta_batch": 6, "checkpoint_every": 40}
    document["baseline"] |= {"joint": False}
    document["evaluation"] |= {"shots": [5], "steps": [0, 1], "rates": [0.01], "long_steps": 2, "draws": 1}
    recipe.write_text(json.dumps(document))  # JSON is YAML
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    root = Path(__file__).parents[3]
    environment |= {
        "ACCLIMATE_HOME": str(tmp_path / "home"),
        "PYTHONPATH": f"{root / 'platform'}:{root / 'device_sdk'}",
    }

    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "acclimate", "train", str(recipe), "--json", *options],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:  # where the test failed, one may be stopped for ever
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.mark.timeout(1800)  # five processes, one after the other, that each load torch and start Ray
def test_a_killed_driver_and_an_interrupted_one_resume_to_the_same_bits(
    command: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    killed = command("--workers", "2")
    wait_for_step(tmp_path, killed, 40)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    interrupted = command("--resume", "--workers", "2")
    wait_for_step(tmp_path, interrupted, 120)
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, said = interrupted.communicate(timeout=600)
    assert interrupted.returncode == 130, said
    assert "acclimate train" in said
    assert "--resume" in said

    terminated = command("--resume", "--workers", "2")
    wait_for_step(tmp_path, terminated, 200)
    os.kill(terminated.pid, signal.SIGSTOP)  # or it might be done before the other one looks
    beside = command("--resume", "--workers", "0")
    _, said = beside.communicate(timeout=600)
    assert beside.returncode == 2, said
    assert f"is being trained by process {terminated.pid} on" in said
    os.kill(terminated.pid, signal.SIGTERM)  # as a cluster ends a pod
    os.kill(terminated.pid, signal.SIGCONT)
    _, said = terminated.communicate(timeout=600)
    assert terminated.returncode == 0, said
    assert "a checkpoint is written" in said

    resumed = finish(command("--resume", "--workers", "1"))
    recipe = load_recipe(str(tmp_path / "waves.yaml"))
    assert resumed["version"]["content_hash"] == run(recipe, InProcess(planned(recipe)))


def wait_for_step(home: Path, process: subprocess.Popen[str], step: int) -> None:
    """Until the newest run's checkpoint of the first phase is at `step` or beyond."""
    from acclimate.training.checkpoint import load_checkpoint

    for _ in range(6000):
        assert process.poll() is None, process.communicate()
        found = sorted((home / "home/runs/waves").glob("*/recipe.yaml"))
        unfinished = [path.parent for path in found if not path.with_name("finished").exists()]
        checkpoints = [path / f"{PHASE}.pt" for path in unfinished if (path / f"{PHASE}.pt").exists()]
        if checkpoints and load_checkpoint(checkpoints[-1]).step >= step:
            return
        time.sleep(0.1)
    raise AssertionError(f"no checkpoint of step {step} in time")


def finish(process: subprocess.Popen[str]) -> dict[str, dict[str, object]]:
    printed, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    result: dict[str, dict[str, object]] = json.loads(printed)
    return result
