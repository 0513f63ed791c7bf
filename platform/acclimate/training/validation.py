"""How good meta-parameters are on the validation tasks: what checkpoints and trials are chosen by.

Validation tasks are neither trained on nor reported on, so what is chosen by them flatters no figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from acclimate.learners import (
    ClosedFormLearner,
    GradientLearner,
    Learner,
    MetaParams,
    in_units,
    under,
    weighted_mean,
)
from acclimate.models.spectral import SpectralFront
from acclimate.tasks import Episodes
from acclimate.tasks.episodes import Examples
from acclimate.training.calibration import calibrated
from acclimate.training.problem import Problem
from acclimate.training.shard import deterministic

_TASKS = 100  # at most: a look must cost little beside the steps between two of them
_DRAWS = 2  # episodes of each, at least


def validator(problem: Problem) -> Callable[[MetaParams], float] | None:
    """The query loss after the policy's adaptation, mean over validation tasks; None where there are none.

    Heads in closed form are judged at their best widths and temperatures, for so they are shipped. One model
    for all, which only answers, is judged on as many episodes of a small fleet as of a large one: on two
    devices' few windows chance would choose the checkpoint. A loss that is not finite counts as infinite.
    """
    if len(problem.split.validation) == 0:
        return None
    sampler, learner = problem.validation_sampler(most=_TASKS), problem.learner()
    tasks = min(len(problem.split.validation), _TASKS)
    answers_only = learner.config.algorithm == "joint"
    draws = math.ceil(_TASKS * _DRAWS / tasks) if answers_only else _DRAWS
    episodes = [_measured(problem.model, sampler.every_task(draw)) for draw in range(draws)]
    if answers_only:
        episodes = [_side_by_side(episodes)]

    def validate(meta: MetaParams) -> float:
        with deterministic():
            if isinstance(learner, ClosedFormLearner):
                meta = calibrated(learner, meta, episodes)
            loss = figures_after(problem, learner, meta, episodes)["loss"]
        return loss if math.isfinite(loss) else math.inf

    return validate


def _measured(model: nn.Module, episodes: Episodes) -> Episodes:
    """With features for windows where nobody trains what measures them: they are the same at every look."""
    front = next((part for part in model.modules() if isinstance(part, SpectralFront)), None)
    if front is None:
        return episodes
    with torch.no_grad(), deterministic():
        support, query = (
            half._replace(x=torch.stack([front.measured(of_task) for of_task in half.x]))
            for half in (episodes.support, episodes.query)
        )
    return Episodes(support, query, episodes.task_ids)


def _side_by_side(draws: Sequence[Episodes]) -> Episodes:
    """Several draws as one, of so many more tasks: answered at once, a hundred cost what one does."""
    support, query = (
        Examples(*map(torch.cat, zip(*halves, strict=True)))
        for halves in ([each.support for each in draws], [each.query for each in draws])
    )
    return Episodes(support, query, tuple(task for each in draws for task in each.task_ids))


def figures_after(
    problem: Problem, learner: Learner, meta: MetaParams, episodes: Sequence[Episodes]
) -> dict[str, float]:
    """`loss` and the metric on the queries after adaptation to the supports, means over tasks and draws."""
    steps = 0 if learner.config.algorithm == "joint" else problem.recipe.learner.policy_steps
    sums: dict[str, float] = {"loss": 0.0, problem.loss.metric_name: 0.0}
    for each in episodes:
        adapted, units = learner.adapt(meta, each.support, steps)[-1], None
        if isinstance(learner, GradientLearner):
            units = learner.inner.units_at(under(meta, "param."), each.query.x)
        outputs = learner.predict(adapted, each.query.x)
        for name, measure in (
            ("loss", problem.loss.per_example),
            (problem.loss.metric_name, problem.loss.metric),
        ):
            counted = in_units(measure, outputs, each.query.y, units if name == "loss" else None)
            sums[name] += float(weighted_mean(counted, each.query.w).mean())
    return {name: value / len(episodes) for name, value in sums.items()}
