"""One round: what each device sends, clipped and rounded there, becomes one vector here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acclimate.aggregation import AGGREGATORS
from acclimate.privacy import epsilon
from acclimate.tasks.randomness import Domain, distinct_tasks, generator
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
    """
    grid, limit = FixedPoint(section.bits), math.inf if section.clip is None else section.clip
    shortened = [clipped(vector, limit) for vector in vectors]
    sent = np.stack([grid.rounded(vector) for vector, _ in shortened])
    norms = np.array([norm for _, norm in shortened])
    if section.aggregator == "mean":
        result = grid.restored(sent.sum(0, dtype=np.int64)) / len(sent)
    else:
        result = AGGREGATORS[section.aggregator](grid.restored(sent), section.liars)
    if section.noise and section.clip is not None:
        sigma = section.noise * section.clip / (section.fleet or len(sent))
        result = result + generator(seed, Domain.NOISE, step).normal(size=result.shape) * sigma
    return Round(result, norms, float(np.mean(norms > limit)))


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
