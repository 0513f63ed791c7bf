"""The second engine under real Ray Train: a worker dies, its group starts anew, the result is the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import ray
import torch

from acclimate.errors import TrainingError
from acclimate.learners import MetaParams
from acclimate.training.engine import TrainPhase, engine
from acclimate.training.loop import OuterState
from acclimate.training.problem import open_problem
from acclimate.training.ray_connection import connect
from acclimate.training.recipe import Recipe
from acclimate.workflow import phases
from tests.integration.training.test_same_bits import RECIPE
from tests.ray_cluster import command_line, descendants

pytestmark = [pytest.mark.slow, pytest.mark.extended]

PHASE = "meta-0"


def with_training(**changes: object) -> Recipe:
    document = RECIPE.model_dump(mode="json")
    document["training"] |= {"steps": 40, "checkpoint_every": 10, **changes}
    return Recipe.model_validate(document)


DDP = with_training(engine="ddp", workers=2, min_workers=1)


@pytest.fixture(scope="module")
def train_phase() -> Iterator[TrainPhase]:
    connect(None, 2)
    with engine(DDP, phases(DDP), None) as made:
        yield made
    ray.shutdown()


class Seen:
    """A phase's state, and what was told of it."""

    def __init__(self, recipe: Recipe) -> None:
        self.state = OuterState.begin(open_problem(recipe).start(), recipe.training.optimizer)
        self.steps: list[int] = []
        self.checkpoints: list[int] = []


def run(
    train_phase: TrainPhase, recipe: Recipe, kill_at: int | None = None, stop_at: int | None = None
) -> Seen:
    seen = Seen(recipe)

    def on_checkpoint(state: OuterState) -> None:
        seen.checkpoints.append(state.step)
        if state.step == kill_at:
            os.kill(train_workers()[0], signal.SIGKILL)

    done = train_phase(
        PHASE,
        recipe,
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
    recipe = with_training(workers=0)
    with engine(recipe, phases(recipe), None) as alone:
        return run(alone, recipe).state.meta


def test_a_killed_worker_costs_no_step_and_changes_no_result(train_phase: TrainPhase) -> None:
    slow = DDP.model_copy(update={"training": DDP.training.model_copy(update={"steps": 400})})
    seen = run(train_phase, slow, kill_at=10)
    assert seen.state.step == 400
    assert seen.steps == list(range(1, 401))
    undisturbed = run(train_phase, slow)
    for name, tensor in undisturbed.state.meta.items():
        torch.testing.assert_close(seen.state.meta[name], tensor, rtol=1e-3, atol=1e-4)


def test_the_all_reduced_gradient_is_the_sum_that_task_workers_take(train_phase: TrainPhase) -> None:
    seen = run(train_phase, DDP)
    for name, tensor in in_process().items():
        torch.testing.assert_close(seen.state.meta[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_stop_ends_all_workers_after_the_same_step_with_a_checkpoint(train_phase: TrainPhase) -> None:
    endless = DDP.model_copy(update={"training": DDP.training.model_copy(update={"steps": 1_000_000})})
    seen = run(train_phase, endless, stop_at=5)
    assert seen.state.step == seen.checkpoints[-1] >= 5


def test_a_users_mistake_ends_it_without_another_start(train_phase: TrainPhase) -> None:
    training = DDP.training
    steep = training.model_copy(update={"optimizer": training.optimizer.model_copy(update={"lr": 1e30})})
    with pytest.raises(TrainingError, match="training diverged"):
        run(train_phase, DDP.model_copy(update={"training": steep}))
