"""Which machinery takes the steps of a phase: this process, Ray task workers, or Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from acclimate.training.executor import InProcess, TaskWorkers
from acclimate.training.loop import OuterState, StepReport, train
from acclimate.training.recipe import Recipe


class TrainPhase(Protocol):
    """Takes a phase's remaining steps in place; see `loop.train` for the arguments."""

    def __call__(
        self,
        phase: str,
        recipe: Recipe,
        state: OuterState,
        *,
        on_step: Callable[[StepReport], None],
        on_checkpoint: Callable[[OuterState], None],
        should_stop: Callable[[], bool],
    ) -> bool: ...


@contextmanager
def engine(recipe: Recipe, phases: Mapping[str, Recipe], address: str | None) -> Iterator[TrainPhase]:
    """What the recipe asks for, alive until the context ends.

    Args:
        phases: the recipe of every phase that may be trained.
        address: of a running Ray cluster; None starts Ray on this machine.

    Raises:
        TrainingError: the cluster cannot be joined.
    """
    if recipe.training.engine == "ddp":
        from acclimate.training.ddp import ddp_engine

        with ddp_engine(recipe.training, address) as train_phase:
            yield train_phase
    elif recipe.training.workers == 0:
        yield partial(_on_shards, InProcess(phases))
    else:
        from acclimate.training.ray_pool import RayPool

        with RayPool(phases, recipe.training.workers, address) as pool:
            yield partial(_on_shards, pool)


def _on_shards(
    workers: TaskWorkers,
    phase: str,
    recipe: Recipe,
    state: OuterState,
    *,
    on_step: Callable[[StepReport], None],
    on_checkpoint: Callable[[OuterState], None],
    should_stop: Callable[[], bool],
) -> bool:
    return train(
        recipe,
        state,
        partial(workers.compute, phase),
        on_step=on_step,
        on_checkpoint=on_checkpoint,
        should_stop=should_stop,
    )
