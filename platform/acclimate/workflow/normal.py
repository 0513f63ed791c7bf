"""The job of kind `anomaly`: the fleet's normal in closed form, its threshold, how held-out devices fare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from acclimate import evaluation as ev
from acclimate.anomaly import METHODS, Budget, Devices, Judged, Method, fit, judge
from acclimate.anomaly.windows import Floats
from acclimate.errors import DataError
from acclimate.evaluation.contenders import Start
from acclimate.evaluation.statistics import interval, summarize
from acclimate.initialization import AdaptationPolicy, Initialization
from acclimate.models import parameters_of
from acclimate.tasks import TaskPool
from acclimate.tasks.pool.periods import days_of
from acclimate.traces import traced
from acclimate.training.problem import Problem
from acclimate.training.shard import deterministic

Progress = Callable[[str, int, int], None]
"""Told (what, done, total)."""

_STARTS: dict[Method, Start] = {"adapted": "meta", "fleet": "joint", "device": "device_only"}


@traced("fit-normal")
def fit_normal(
    problem: Problem, on_progress: Progress, *, choosing: bool = False
) -> tuple[Initialization, ev.Evaluation]:
    """Fit what is normal on the training devices and judge it on the held-out ones.

    Args:
        choosing: networks are chosen by the evaluation: judge on the validation devices too, and fit on none
            of them.

    Raises:
        DataError: too few devices have normal windows, or no held-out device has anomalies to be judged by.
    """
    recipe, pool = problem.recipe, problem.data
    assert isinstance(pool, TaskPool)
    schema, own = pool.info.schema, recipe.episodes.shots
    budget = Budget.of(recipe.anomaly.false_alarms, recipe.anomaly.quiet, schema.step, schema.sample_rate_hz)
    body = problem.model.get_submodule("body")
    devices = Devices(pool, problem.normalization, body, recipe.episodes.support_fraction)
    with deterministic():
        # No device judges itself here, so validation devices are no others than training devices.
        fitted = problem.split.train
        if not choosing:
            fitted = np.concatenate([fitted, problem.split.validation])
        training = [devices.windows(int(task)) for task in fitted]
        normal = fit(training, own, budget, on_progress)
        chosen: list[Mapping[Method, Judged]] = []
        if choosing:
            for task in map(int, problem.split.validation):
                chosen.append(judge(normal.prior, devices.windows(task), own, budget))
        judged: dict[str, dict[Method, Judged]] = {}
        for done, task in enumerate(map(int, problem.split.test)):
            on_progress("held-out devices", done, len(problem.split.test))
            judged[pool.task_ids[task]] = judge(normal.prior, devices.windows(task), own, budget)
    on_progress("held-out devices", len(judged), len(judged))
    initialization = Initialization(
        params=parameters_of(problem.model),
        prior={name: torch.from_numpy(array) for name, array in normal.prior.tensors().items()},
        model=problem.spec,
        schema=problem.data.schema,
        normalization=problem.normalization,
        adaptation=AdaptationPolicy(steps=1, inner_lr=recipe.learner.inner_lr, shots=own),
        learner=recipe.learner.algorithm,
    )
    return initialization, _evaluation(problem, judged, chosen)


def _evaluation(
    problem: Problem,
    judged: Mapping[str, Mapping[Method, Judged]],
    validation: Sequence[Mapping[Method, Judged]],
) -> ev.Evaluation:
    own = problem.recipe.episodes.shots
    tasks = tuple(task for task, of in judged.items() if np.isfinite(of["adapted"].average_precision))
    if not tasks:
        raise DataError(
            "no held-out device has both normal and anomalous windows after the cut, so nothing can be "
            "judged: hold out others (data.test_groups), or declare `label` and `normal`"
        )
    precision = {
        method: np.array([judged[task][method].average_precision for task in tasks]) for method in METHODS
    }
    adapted = (precision["fleet"], precision["adapted"])
    measured: list[tuple[Method, tuple[int, ...], tuple[Floats, ...]]] = [
        ("adapted", (0, 1), adapted),
        ("fleet", (0,), (precision["fleet"],)),
        ("device", (1,), (precision["device"],)),
    ]
    return ev.Evaluation(
        metric="average_precision",
        higher_is_better=True,
        policy_shots=own,
        policy_steps=1,
        tasks=tasks,
        draws=1,
        seeds=(problem.recipe.seed,),
        rates_chosen_on="training tasks",
        curves=tuple(
            ev.Curve(
                start=_STARTS[method],
                shots=own,
                steps=steps,
                points=tuple(summarize(values, tasks, True) for values in points),
                chosen=len(steps) - 1,
                validation=_mean_precision([of[method] for of in validation]),
                details=_details([of[method] for of in judged.values()]),
            )
            for method, steps, points in measured
        ),
        comparisons=tuple(_comparisons(precision, own)),
        groups=tuple(_groups(problem, tasks)),
        days=days_of(problem.data, problem.split.test),
    )


def _mean_precision(judged: Sequence[Judged]) -> float | None:
    """Mean average precision of the devices that can be judged; None where there is none."""
    known = [each.average_precision for each in judged if np.isfinite(each.average_precision)]
    return float(np.mean(known)) if known else None


def _details(judged: Sequence[Judged]) -> dict[str, float]:
    """Means over all held-out devices, those without anomalies among them."""
    false = np.array([each.false_alarms for each in judged])
    stretches = sum(each.stretches for each in judged)
    figures = {
        "auroc": float(np.nanmean([each.auroc for each in judged])),
        "false_alarms_a_month": float(np.nanmean(false)),
        "false_alarms_a_month.worst": float(np.nanmax(false)),
    }
    if stretches:
        figures["anomalies_found"] = sum(each.found for each in judged) / stretches
    return figures


def _comparisons(precision: Mapping[Method, Floats], own: int) -> Iterator[ev.Comparison]:
    for method in ("fleet", "device"):
        gains = precision["adapted"] - precision[method]
        low, high = interval(gains)
        yield ev.Comparison(_STARTS[method], own, float(gains.mean()), low, high, int((gains >= 0).sum()))


def _groups(problem: Problem, tasks: Sequence[str]) -> Iterator[str]:
    ids = problem.data.task_ids
    yield from (problem.data.groups[ids.index(task)] for task in tasks)
