"""What a campaign sends, spends and may bring, rehearsed on recordings before any device is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.finite import finite_or_none
from acclimate.learners import ClosedFormLearner
from acclimate.privacy import noise_for
from acclimate.training.federated.moments import RIDGES, TAUS, device_moments, with_prior
from acclimate.training.federated.round import combined, epsilon_of, most_rounds
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.sections import FederatedSection
from acclimate.training.shard import deterministic
from acclimate.training.validation import figures_after
from acclimate_device.federated import clipped
from acclimate_device.protocol import LIMITS

_ALONE = 1e-9  # examples that the fleet counts like, where a device learns alone
_WORTH = 0.005  # of accuracy, or a part of the error: less than this over a device alone is nothing
_BYTES = 4  # of an integer
_BYTES_JOINING, _BYTES_A_PEER = 422, 298
"""Measured: of keys, and of shares dealt to and given back of one device, where contributions are hidden."""


@dataclass(frozen=True)
class Expected:
    """A row: with noise for a bound `epsilon` in a fleet of so many devices."""

    devices: int
    epsilon: float
    noise: float
    expected: float


@dataclass(frozen=True)
class Rehearsal:
    """See the module.

    Attributes:
        sends: `moments` or `gradients`, and how many numbers.
        rounds_of_a_device: of the one that takes part most often.
        bytes_of_masks: a device sends beside that, where `federated.secure` hides it among the recipe's.
        epsilon: of that device, as the recipe is; infinite without noise.
        metric: by its name; the higher `better`, or the lower.
        without_noise, alone: the metric of the campaign, and of devices that learn from nobody. NaN for
            gradients, whose rehearsal is a training.
    """

    sends: str
    rounds: int
    rounds_of_a_device: int
    bytes_a_round: int
    bytes_of_masks: int
    epsilon: float
    delta: float
    metric: str
    without_noise: float
    alone: float
    rows: tuple[Expected, ...]
    advice: str

    def as_json(self) -> dict[str, Any]:
        """JSON types; what is infinite or unknown is null."""
        told: dict[str, Any] = finite_or_none(asdict(self))
        return told


def rehearse(recipe: Recipe, fleets: Sequence[int], epsilons: Sequence[float]) -> Rehearsal:
    """Open the recipe's data and rehearse.

    Raises:
        AcclimateError: the data or the recipe do not fit.
    """
    problem = open_problem(recipe)
    section = recipe.federated
    assert section is not None
    rounds = most_rounds(problem)
    spent = epsilon_of(recipe, rounds)
    with deterministic():
        if recipe.closed_form:
            return _of_moments(problem, fleets, epsilons, spent)
    numbers = sum(tensor.numel() for tensor in problem.start().values())
    rows = [
        Expected(fleet, bound, noise_for(bound, rounds, section.delta), math.nan)
        for fleet in fleets
        for bound in epsilons
    ]
    return Rehearsal(
        f"gradients, {numbers} numbers",
        recipe.training.last_step,
        rounds,
        _BYTES * numbers,
        _of_masks(section, recipe.training.meta_batch),
        spent,
        section.delta,
        problem.loss.metric_name,
        math.nan,
        math.nan,
        tuple(rows),
        "what accuracy to expect of gradients takes a training: acclimate campaign simulate --set "
        "federated.fleet=DEVICES --set federated.noise=NOISE",
    )


def _of_moments(
    problem: Problem, fleets: Sequence[int], epsilons: Sequence[float], spent: float
) -> Rehearsal:
    section, recipe = problem.recipe.federated, problem.recipe
    assert section is not None
    judge = _Judge(problem)
    vectors = device_moments(problem, judge.meta)
    plain = combined(section.model_copy(update={"noise": 0.0}), vectors, recipe.seed, 0).result
    middle = float(np.median(np.linalg.norm(vectors, axis=1)))
    clip = section.clip or middle
    shortened = np.stack([clipped(vector, clip)[0] for vector in vectors])
    without, alone = judge.best(plain), judge.alone(plain)
    rows = []
    for fleet in fleets:
        for bound in epsilons:
            noise = noise_for(bound, 1, section.delta)
            private = section.model_copy(
                update={"noise": noise, "clip": clip, "fleet": fleet, "aggregator": "mean"}
            )
            noised = combined(private, shortened, recipe.seed, 0).result
            # Whoever runs the campaign sees on the validation devices where noise leaves nothing to use.
            rows.append(Expected(fleet, bound, noise, judge.better(judge.best(noised), alone)))
    return Rehearsal(
        f"moments, {vectors.shape[1]} numbers",
        1,
        1,
        _BYTES * vectors.shape[1],
        _of_masks(section, len(vectors)),
        spent,
        section.delta,
        problem.loss.metric_name,
        without,
        alone,
        tuple(rows),
        _advice(judge, without, alone, rows),
    )


def _of_masks(section: FederatedSection, devices: int) -> int:
    group = min(devices, LIMITS.group_devices)
    return _BYTES_JOINING + _BYTES_A_PEER * group if section.secure else 0


class _Judge:
    """Chooses how much a fleet counts on one draw of the validation devices and measures it on another."""

    def __init__(self, problem: Problem) -> None:
        learner = problem.learner()
        assert isinstance(learner, ClosedFormLearner)
        self._problem, self._learner, self.meta = problem, learner, problem.start()
        self.higher = problem.loss.metric_name == "accuracy"
        tasks = problem.split.validation if len(problem.split.validation) else problem.split.train
        shots = problem.recipe.evaluation.shots
        self._draws = [[problem.sampler(tasks, each).every_task(draw) for each in shots] for draw in (0, 1)]

    def best(self, vector: NDArray[np.float64]) -> float:
        """Of a fleet's moments."""
        return self._measured(vector, TAUS)

    def alone(self, like: NDArray[np.float64]) -> float:
        """Of devices that know nothing of one another."""
        return self._measured(np.zeros_like(like), (_ALONE,))

    def better(self, one: float, other: float) -> float:
        """The better of two figures."""
        return max(one, other) if self.higher else min(one, other)

    def _measured(self, vector: NDArray[np.float64], taus: Sequence[float]) -> float:
        tried = [with_prior(self._learner, self.meta, vector, tau, ridge) for tau in taus for ridge in RIDGES]
        chosen = [self._figure(meta, 0) for meta in tried]
        at = int(np.argmax(chosen) if self.higher else np.argmin(chosen))
        return self._figure(tried[at], 1)

    def _figure(self, meta: dict[str, torch.Tensor], draw: int) -> float:
        figures = figures_after(self._problem, self._learner, meta, self._draws[draw])
        return figures[self._problem.loss.metric_name]


def _advice(judge: _Judge, without: float, alone: float, rows: Sequence[Expected]) -> str:
    def gains(figure: float) -> bool:
        return figure - alone > _WORTH if judge.higher else figure < alone * (1 - _WORTH)

    if not gains(without):
        return "not worth a campaign: devices do as well alone"
    worth = [row for row in rows if gains(row.expected)]
    if not worth:
        most = max((row.devices for row in rows), default=0)
        return f"noise leaves nothing to gain in fleets up to {most} devices: a device alone does as well"
    least = min(worth, key=lambda row: (row.devices, row.epsilon))
    return f"worth it without noise; with noise from {least.devices} devices, at epsilon {least.epsilon:g}"
