"""What devices that lie may send: rehearsed before a campaign, to see what its aggregator is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.tasks import Episodes
from acclimate.tasks.episodes import Around, Examples
from acclimate.tasks.episodes.randomness import Domain, distinct_tasks, generator

Attack = Literal["sign-flip", "noise", "label-flip", "a-little-is-enough"]
Vector = NDArray[np.float64]
Lying = NDArray[np.bool_]

_FACTOR = 10.0
_LITTLE = 1.5  # standard deviations from the honest mean, of Baruch et al. 2019 (arXiv:1902.06156)


def lying_tasks(seed: int, tasks: int, share: float) -> frozenset[int]:
    """Which training tasks lie, as entries of the sampler's."""
    order = generator(seed, Domain.ATTACKERS).permutation(tasks)
    return frozenset(order[: round(share * tasks)].tolist())


def attacked(attack: Attack, updates: Vector, lying: Lying, seed: int, step: int) -> Vector:
    """The round's updates `(n, p)`, those of the lying ones replaced; they know what the honest ones send.

    Label flips lie about labels and not here; a round of liars alone, or of none, stays as it is.
    """
    if attack == "label-flip" or not lying.any() or lying.all():
        return updates
    honest = updates[~lying]
    middle = honest.mean(0)
    if attack == "sign-flip":
        sent = np.broadcast_to(-_FACTOR * middle, (int(lying.sum()), len(middle)))
    elif attack == "noise":
        length = _FACTOR * np.linalg.norm(honest, axis=1).mean() / np.sqrt(len(middle))
        sent = (
            generator(seed, Domain.ATTACKERS, step, 1).normal(size=(int(lying.sum()), len(middle))) * length
        )
    else:
        sent = np.broadcast_to(middle - _LITTLE * honest.std(0), (int(lying.sum()), len(middle)))
    lied = updates.copy()
    lied[lying] = sent
    return lied


@dataclass(frozen=True)
class LyingSampler(Around):
    """A sampler whose lying tasks call class c the class `classes - 1 - c`.

    Args:
        tasks: that `sampler` draws from.
        share: of them that lie.
    """

    seed: int
    tasks: int
    share: float

    def episodes(self, step: int, indices: Sequence[int]) -> Episodes:
        drawn = self.sampler.episodes(step, indices)
        lying = who_lies(self.seed, step, indices, self.tasks, self.share)
        return Episodes(
            flipped(drawn.support, lying, self.outputs),
            flipped(drawn.query, lying, self.outputs),
            drawn.task_ids,
        )


def flipped(examples: Examples, lying: Lying, outputs: int) -> Examples:
    """Examples `(tasks, examples)`, the labels of lying tasks turned around; real targets their sign."""
    y = examples.y
    other = outputs - 1 - y if y.dtype == torch.int64 else -y
    rows = torch.from_numpy(lying).reshape(-1, *(1 for _ in y.shape[1:]))
    return examples._replace(y=torch.where(rows, other, y))


def who_lies(seed: int, step: int, indices: Sequence[int], tasks: int, share: float) -> Lying:
    """Which of the devices that a step draws lie, `(indices,)`."""
    liars = sorted(lying_tasks(seed, tasks, share))
    return np.isin(distinct_tasks(seed, step, indices, tasks), liars)
