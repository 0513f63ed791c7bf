"""Which machinery takes the steps of a phase: this process, Ray task workers, or Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from acclimate.training.executor import InProcess, TaskWorkers
from acclimate.training.federated.gradients import gradient_round
from acclimate.training.federated.moments import statistics_round
from acclimate.training.loop import OuterState, StepReport, TrainPhase, train
from acclimate.training.problem import Problem, data_fingerprint
from acclimate.training.validation import validator


def pinned(problem: Problem, begun_with: str | None = None) -> Problem:
    """The problem with `learner.compile` settled by its length, for workers that must obey or fail.

    Args:
        begun_with: `on` or `off`, as the run began; None decides now.

    Raises:
        ModelError: the run began compiled and this machine has no compiler.
    """
    recipe = problem.recipe
    settled = begun_with or (
        "off" if problem.learner(recipe.training.steps).backend.name == "plain" else "on"
    )
    learner = recipe.learner.model_copy(update={"compile": settled})
    again = problem.again(recipe.model_copy(update={"learner": learner}))
    again.learner()  # fails here, and not on every worker
    return again


@contextmanager
def engine(problems: Mapping[str, Problem], address: str | None) -> Iterator[TrainPhase]:
    """What the recipes ask for, alive until the context ends.

    Args:
        problems: of every phase that may be trained, on the same data and with the same workers.
        address: of a running Ray cluster; None starts Ray on this machine.

    Raises:
        TrainingError: the cluster cannot be joined.
    """
    training = next(iter(problems.values())).recipe.training
    if training.engine == "ddp":
        from acclimate.training.ddp import ddp_engine

        with ddp_engine(problems, address) as train_phase:
            yield train_phase
        return
    recipes = {phase: problem.recipe for phase, problem in problems.items()}
    measured = {phase: problem.normalization for phase, problem in problems.items()}
    opened = next(iter(problems.values()))
    if training.workers == 0:
        yield partial(_on_shards, problems, InProcess(recipes, opened, measured))
        return
    from acclimate.training.ray_pool import RayPool

    content = data_fingerprint(opened.data)
    with RayPool(recipes, training.workers, address, measured, content=content) as pool:
        yield partial(_on_shards, problems, pool)


def _on_shards(
    problems: Mapping[str, Problem],
    workers: TaskWorkers,
    phase: str,
    state: OuterState,
    *,
    on_step: Callable[[StepReport], None],
    on_checkpoint: Callable[[OuterState], None],
    should_stop: Callable[[], bool],
) -> bool:
    problem = problems[phase]
    compute = partial(workers.compute, phase)
    if problem.recipe.federated:
        if problem.recipe.closed_form:
            return statistics_round(problem, state, on_step, on_checkpoint)
        compute = partial(gradient_round, problem, compute)
    return train(
        problem.recipe,
        state,
        compute,
        validate=validator(problem),
        on_step=on_step,
        on_checkpoint=on_checkpoint,
        should_stop=should_stop,
    )
