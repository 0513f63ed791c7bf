"""Search the inner loop's step size and number of steps with Ray Tune, judged on validation tasks.

Every trial meta-trains the recipe with other values, in one process on one core, and is judged by the query
loss after adaptation on tasks that are neither trained on nor tested on. Trials that fall behind at a fifth,
two fifths, ... of the steps are ended (ASHA, https://arxiv.org/abs/1810.05934).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

from acclimate.errors import AcclimateError, TrainingError
from acclimate.training.executor import InProcess
from acclimate.training.loop import OuterState, train
from acclimate.training.plan import keep_plan
from acclimate.training.problem import data_fingerprint, open_problem
from acclimate.training.ray_connection import connected
from acclimate.training.recipe import Recipe
from acclimate.training.shard import deterministic
from acclimate.training.validation import figures_after

_LOOKS = 5  # how often a trial is judged
_VALIDATION = 0.2  # share of groups to judge on where the recipe sets none aside
_DRAWS = 3  # episodes of each validation task


@dataclass(frozen=True)
class Space:
    """What is tried: step sizes log-uniformly within `inner_lr`, numbers of steps out of `inner_steps`."""

    inner_lr: tuple[float, float] = (0.003, 0.5)
    inner_steps: tuple[int, ...] = (1, 2, 3, 5, 8)


@dataclass(frozen=True)
class Trial:
    """One set of values and how it did.

    Attributes:
        loss: query loss after adaptation, mean over validation tasks.
        figures: `loss` and the metric.
        step: outer steps it was given before it ended.
    """

    inner_lr: float
    inner_steps: int
    loss: float
    figures: Mapping[str, float]
    step: int


def search(
    recipe: Recipe,
    space: Space,
    trials: int,
    directory: Path,
    *,
    workers: int,
    address: str | None = None,
    resume: bool = False,
    on_trial: Callable[[int, Trial], None] = lambda number, trial: None,
) -> list[Trial]:
    """Try `trials` sets of values, the recipe's own first.

    Args:
        directory: keeps the search, so that it can be resumed.
        workers: trials at a time, a core each.
        address: of a Ray cluster; None starts Ray on this machine.
        on_trial: called with the number of ended trials and the last of them.

    Returns:
        The trials, best first; fewer than asked for if it was interrupted.

    Raises:
        TrainingError: there is nothing to resume, or another search, or every trial failed or diverged.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Trials stay in this folder: a recipe's `source` may be relative to it.
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    _Ended.listener = staticmethod(on_trial)
    if recipe.closed_form:
        raise TrainingError(
            f"{recipe.name!r} solves heads in closed form, which takes neither a rate nor a number of steps: "
            "compare it with other learners by `acclimate compare`, or set learner.algorithm to tune one"
        )
    judged = _with_validation(recipe)  # a user's mistake shows here, once, and not in every trial
    if resume and not tune.Tuner.can_restore(str(directory)):
        raise TrainingError(f"no search to resume is in {directory}: start one without --resume")
    plan = {
        "recipe": judged.determines(),
        "recordings": data_fingerprint(open_problem(judged).data),
        "values": asdict(space),
        "trials": trials,
    }
    other = "a search of another recipe, other data, other values or another number of trials"
    keep_plan(directory, plan, other)
    with connected(address, workers):
        trainable = tune.with_resources(tune.with_parameters(_trial, recipe=judged), {"cpu": 1})
        tuner = (
            tune.Tuner.restore(str(directory), trainable, resume_unfinished=True, restart_errored=True)
            if resume
            else _tuner(trainable, judged, space, trials, directory, workers)
        )
        results = tuner.fit()
    done = [_of(result.metrics) for result in results if result.metrics and "loss" in result.metrics]
    if not done and results.errors:
        raise TrainingError(f"every trial failed: {str(results.errors[0]).strip().splitlines()[-1]}")
    if done and not any(math.isfinite(trial.loss) for trial in done):
        raise TrainingError(
            "every trial diverged: lower training.optimizer.lr, or try smaller step sizes with --inner-lr"
        )
    # A trial that was ended early has a loss too, and where it is the lowest it is the best there is.
    return sorted(done, key=lambda trial: (not math.isfinite(trial.loss), trial.loss, -trial.step))


def tuned(recipe: Recipe, best: Trial) -> Recipe:
    """The recipe with the values of a trial."""
    found = {"inner_lr": best.inner_lr, "inner_steps": best.inner_steps}
    return recipe.model_copy(update={"learner": recipe.learner.model_copy(update=found)})


def _tuner(
    trainable: Any,
    recipe: Recipe,
    space: Space,
    trials: int,
    directory: Path,
    workers: int,
) -> Any:
    steps = recipe.training.steps
    own = {"inner_lr": recipe.learner.inner_lr, "inner_steps": recipe.learner.inner_steps}
    return tune.Tuner(
        trainable,
        param_space={
            "inner_lr": tune.loguniform(*space.inner_lr),
            "inner_steps": tune.choice(list(space.inner_steps)),
        },
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=workers,
            search_alg=BasicVariantGenerator(points_to_evaluate=[own], random_state=recipe.seed),
            scheduler=ASHAScheduler(
                time_attr="step", max_t=steps, grace_period=max(1, steps // _LOOKS), reduction_factor=2
            ),
        ),
        run_config=tune.RunConfig(
            name=directory.name,
            storage_path=str(directory.parent),
            verbose=0,
            callbacks=[_Ended()],
        ),
    )


class _Ended(tune.Callback):
    """Tells of every trial that ends.

    Ray Tune keeps its callbacks by pickle, to resume; whom to tell is of this process and stays out of it.
    """

    listener: ClassVar[Callable[[int, Trial], None]]

    def __init__(self) -> None:
        self._count = 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._count += 1
        if "loss" in trial.last_result:
            type(self).listener(self._count, _of(trial.last_result))


def _trial(config: dict[str, Any], recipe: Recipe) -> None:
    """What runs in a process of its own; reports `_LOOKS` times."""
    candidate = tuned(recipe, Trial(config["inner_lr"], config["inner_steps"], 0.0, {}, 0))
    problem = open_problem(candidate)
    learner = problem.learner()
    sampler = problem.validation_sampler()
    episodes = [sampler.every_task(draw) for draw in range(_DRAWS)]
    state = OuterState.begin(problem.start(), candidate.training.optimizer)
    every = max(1, candidate.training.steps // _LOOKS)

    def look(state: OuterState) -> None:
        with deterministic():
            figures = figures_after(problem, learner, state.current, episodes)
        if not torch.isfinite(torch.tensor(figures["loss"])):
            raise TrainingError(f"the loss is {figures['loss']} after {state.step} steps")
        tune.report({**figures, "step": state.step, "metric": problem.loss.metric_name})

    watched = candidate.model_copy(
        update={"training": candidate.training.model_copy(update={"checkpoint_every": every})}
    )
    try:
        train(
            watched,
            state,
            partial(InProcess({"tuning": candidate}).compute, "tuning"),
            on_step=lambda report: None,
            on_checkpoint=look,
            should_stop=lambda: False,
        )
    except AcclimateError:  # diverged: as bad as can be, which is a result and no failure
        tune.report(
            {
                "loss": float("inf"),
                problem.loss.metric_name: float("nan"),
                "step": state.step,
                "metric": problem.loss.metric_name,
            }
        )


def _with_validation(recipe: Recipe) -> Recipe:
    if len(open_problem(recipe).split.validation):
        return recipe
    judged = recipe.model_copy(update={"data": recipe.data.model_copy(update={"validation": _VALIDATION})})
    open_problem(judged)
    return judged


def _of(metrics: Mapping[str, Any]) -> Trial:
    metric = metrics["metric"]
    return Trial(
        inner_lr=metrics["config"]["inner_lr"],
        inner_steps=metrics["config"]["inner_steps"],
        loss=metrics["loss"],
        figures={"loss": metrics["loss"], metric: metrics[metric]},
        step=metrics["step"],
    )
