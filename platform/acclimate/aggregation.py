"""From the updates of a round's devices to one: the mean, or something that a few liars move less.

Every aggregator takes updates `(n, p)` in float64 and gives `(p,)`. `share` is what part of the devices may
lie. None of them can be had together with secure aggregation, which shows their sum alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Updates = NDArray[np.float64]
Name = Literal["mean", "clipped-mean", "trimmed-mean", "geometric-median", "multi-krum"]
Aggregator = Callable[[Updates, float], Updates]

_WEISZFELD = 50  # steps at most
_SETTLED = 1e-9  # of the updates' scale


def mean(updates: Updates, share: float = 0.0) -> Updates:
    """Of all; one liar moves it as far as it likes."""
    del share
    return np.asarray(updates.mean(0))


def clipped_mean(updates: Updates, share: float = 0.0) -> Updates:
    """Of all, none longer than the median: a liar has a direction, and no more length than anybody."""
    del share
    norms = np.linalg.norm(updates, axis=1)
    factors = np.minimum(1.0, np.median(norms) / np.maximum(norms, np.finfo(np.float64).tiny))
    return np.asarray((updates * factors[:, None]).mean(0))


def trimmed_mean(updates: Updates, share: float = 0.2) -> Updates:
    """By coordinate, without the `share` lowest and highest (Yin et al. 2018, arXiv:1803.01498)."""
    cut = liars(len(updates), share)
    ordered = np.sort(updates, axis=0)
    return np.asarray(ordered[cut : len(updates) - cut].mean(0))


def geometric_median(updates: Updates, share: float = 0.2) -> Updates:
    """The point whose distances to all add up to the least, by Weiszfeld's steps (Pillutla et al. 2022)."""
    del share
    at = np.median(updates, axis=0)
    scale = float(np.abs(updates).max()) or 1.0
    for _ in range(_WEISZFELD):
        weights = 1.0 / np.maximum(np.linalg.norm(updates - at, axis=1), _SETTLED * scale)
        moved = (updates * weights[:, None]).sum(0) / weights.sum()
        if float(np.abs(moved - at).max()) <= _SETTLED * scale:
            return np.asarray(moved)
        at = moved
    return np.asarray(at)


def multi_krum(updates: Updates, share: float = 0.2) -> Updates:
    """The mean of those who stand nearest to their neighbours (Blanchard et al. 2017, arXiv:1703.02757).

    A device's score is the sum of the squared distances to its n - f - 2 nearest, and n - f are kept.
    """
    number, false = len(updates), liars(len(updates), share)
    nearest = max(1, number - false - 2)
    squared = (updates * updates).sum(1)
    distances = np.maximum(squared[:, None] + squared - 2 * updates @ updates.T, 0.0)
    np.fill_diagonal(distances, np.inf)
    scores = np.sort(distances, axis=1)[:, :nearest].sum(1)
    kept = np.argsort(scores, kind="stable")[: number - false]
    return np.asarray(updates[np.sort(kept)].mean(0))


def liars(devices: int, share: float) -> int:
    """Of so many devices, how many may lie: the share rounded up, and fewer than half."""
    return min(math.ceil(share * devices), (devices - 1) // 2)


AGGREGATORS: dict[Name, Aggregator] = {
    "mean": mean,
    "clipped-mean": clipped_mean,
    "trimmed-mean": trimmed_mean,
    "geometric-median": geometric_median,
    "multi-krum": multi_krum,
}
