"""One round: what each device sends, clipped and rounded there, becomes one vector here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acclimate.aggregation import AGGREGATORS
from acclimate.privacy import epsilon
from acclimate.tasks.episodes.randomness import Domain, distinct_tasks, generator
from acclimate.training.federated.hidden import hidden_sum
from acclimate.training.problem import Problem
from acclimate.training.recipe import Recipe
from acclimate.training.sections import FederatedSection
from acclimate_device.federated import FixedPoint, clipped

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Round:
    """A round that is over.

    Attributes:
        result: `(p,)`.
        norms: `(devices,)`, L2, of what devices had before clipping.
        clipped: share of the devices that shortened theirs.
    """

    result: Vector
    norms: Vector
    clipped: float

    def figures(self) -> dict[str, float]:
        """For the run's curves."""
        middle, high = np.quantile(self.norms, (0.5, 0.9))
        return {
            "clipped_share": self.clipped,
            "update_norm_median": float(middle),
            "update_norm_p90": float(high),
        }


def combined(section: FederatedSection, vectors: Vector, seed: int, step: int) -> Round:
    """The round of what devices have, `(devices, p)`.

    Integers are summed, so that `mean` is the same to the bit in whatever order devices come.

    Raises:
        RecipeError: too many devices vanish for a sum that hides what each gives.
    """
    limit = math.inf if section.clip is None else section.clip
    stays = _staying(section, len(vectors), seed, step)
    shortened = [clipped(vector, limit) for vector in vectors]
    norms = np.array([norm for _, norm in shortened])[stays]
    noise = section.noise * (section.clip or 0.0) / (section.fleet or len(norms))  # on the mean
    draw = generator(seed, Domain.NOISE, step)
    if section.secure:
        grid = FixedPoint(_bits_that_fit(section.bits, shortened))
        sent = [grid.rounded(vector) for vector, _ in shortened]
        in_units = noise * len(norms) * 2.0**grid.bits
        total = hidden_sum(sent, stays, in_units, lambda count: draw.normal(size=count))
        return _round(grid.restored(total) / len(norms), norms, limit)
    grid = FixedPoint(section.bits)
    came = np.stack([grid.rounded(vector) for vector, _ in shortened])[stays]
    if section.aggregator == "mean":
        result = grid.restored(came.sum(0, dtype=np.int64)) / len(came)
    else:
        result = AGGREGATORS[section.aggregator](grid.restored(came), section.liars)
    if noise:
        result = result + draw.normal(size=result.shape) * noise
    return _round(result, norms, limit)


def _round(result: Vector, norms: Vector, limit: float) -> Round:
    return Round(result, norms, float(np.mean(norms > limit)))


def _staying(section: FederatedSection, devices: int, seed: int, step: int) -> NDArray[np.bool_]:
    """Which devices do not vanish; at least one."""
    stays = np.ones(devices, np.bool_)
    gone = min(round(section.dropouts * devices), devices - 1)
    stays[generator(seed, Domain.DROPOUTS, step).permutation(devices)[:gone]] = False
    return stays


def _bits_that_fit(bits: int, vectors: Sequence[tuple[Vector, float]]) -> int:
    """At most `bits` after the point, with which the sum of all fits into 32 bits."""
    largest = sum(float(np.abs(vector).max()) for vector, _ in vectors) or 1.0
    return min(bits, math.floor(math.log2((2**31 - 1) / largest)) - 1)  # a bit is for noise


def most_rounds(problem: Problem) -> int:
    """Rounds of the device that is drawn most often."""
    recipe, devices = problem.recipe, len(problem.training_devices())
    if recipe.closed_form:
        return 1
    counts = np.zeros(devices, np.int64)
    for step in range(recipe.training.last_step):
        drawn = distinct_tasks(recipe.seed, step, range(recipe.training.meta_batch), devices)
        np.add.at(counts, drawn, 1)
    return int(counts.max())


def epsilon_of(recipe: Recipe, rounds: int) -> float:
    """What a device spends that takes part in so many rounds of a federated recipe."""
    section = recipe.federated
    return math.inf if section is None else epsilon(section.noise, rounds, section.delta)
