"""The second engine under real Ray Train: a worker dies, its group starts anew, the result is the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch

from acclimate.errors import TrainingError
from acclimate.learners import MetaParams
from acclimate.training.engine import engine
from acclimate.training.loop import OuterState
from acclimate.training.problem import open_problem
from acclimate.training.ray_connection import connected
from acclimate.training.recipe import Recipe
from tests.integration.training.test_same_bits import RECIPE
from tests.support.ray_cluster import command_line, descendants

pytestmark = pytest.mark.slow

PHASE = "meta-0"


def with_training(**changes: object) -> Recipe:
    document = RECIPE.model_dump(mode="json")
    # Long enough that the driver, which looks every 0.2 s, kills a worker in the middle.
    document["training"] |= {
        "steps": 300,
        "patience": None,
        "meta_batch": 4,
        "shard": 2,
        "checkpoint_every": 10,
        **changes,
    }
    return Recipe.model_validate(document)


DDP = with_training(engine="ddp", workers=2, min_workers=1)


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with connected(None, 2):
        yield


class Seen:
    """A phase's state, and what was told of it."""

    def __init__(self, recipe: Recipe) -> None:
        self.state = OuterState.begin(open_problem(recipe).start(), recipe.training.optimizer)
        self.steps: list[int] = []
        self.checkpoints: list[int] = []


def run(recipe: Recipe, kill: bool = False, stop_at: int | None = None) -> Seen:
    """Train; with `kill`, a worker dies at the first checkpoint."""
    seen = Seen(recipe)

    def on_checkpoint(state: OuterState) -> None:
        if kill and not seen.checkpoints:
            os.kill(train_workers()[0], signal.SIGKILL)
        seen.checkpoints.append(state.step)

    with engine({PHASE: open_problem(recipe)}, None) as train_phase:
        done = train_phase(
            PHASE,
            seen.state,
            on_step=lambda report: seen.steps.append(report.step),
            on_checkpoint=on_checkpoint,
            should_stop=lambda: stop_at is not None and bool(seen.steps) and seen.steps[-1] >= stop_at,
        )
    assert done == (stop_at is None)
    return seen


def train_workers() -> list[int]:
    return [pid for pid in descendants(os.getpid()) if "RayTrainWorker" in command_line(pid)]


def in_process() -> MetaParams:
    return run(with_training(workers=0)).state.meta


def test_a_killed_worker_costs_no_step_and_the_sum_is_the_one_that_task_workers_take() -> None:
    seen = run(DDP, kill=True)
    assert seen.state.step == 300
    assert seen.steps == list(range(1, 301))
    assert seen.checkpoints[0] < 300, "nothing was left to do when the worker died"
    for name, tensor in in_process().items():
        torch.testing.assert_close(seen.state.meta[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_stop_ends_all_workers_after_the_same_step_with_a_checkpoint() -> None:
    endless = DDP.model_copy(update={"training": DDP.training.model_copy(update={"steps": 1_000_000})})
    seen = run(endless, stop_at=5)
    assert seen.state.step == seen.checkpoints[-1] >= 5


def test_a_users_mistake_ends_it_without_another_start() -> None:
    training = DDP.training
    steep = training.model_copy(update={"optimizer": training.optimizer.model_copy(update={"lr": 1e30})})
    with pytest.raises(TrainingError, match="training diverged"):
        run(DDP.model_copy(update={"training": steep}))
