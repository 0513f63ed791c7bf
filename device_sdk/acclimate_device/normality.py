"""What is normal on one device: a Gaussian of its features, in closed form, with the fleet as prior.

A device's features scatter around a mean of its own with a covariance of its own. Both are learned from its
normal windows, one at a time, and both begin at the fleet's: the mean at the fleet's with the spread between
devices, the covariance at what windows of one device have, which counts as `weight` windows. Before its first
window a device is judged by the fleet alone; with many it is judged by itself.

    x = mean of n windows, S = their scatter around it, k = windows that count as one of the mean
    G = B (B + W k / n)^-1                       how far to trust x
    m = m0 + G (x - m0)
    C = (weight W + S + n (x - m)(x - m)') / (weight + n) + B - G B

The score of a window is its log density below that of the mode, under tails as heavy as the fleet's windows
have. With u = C^(-1/2) (z - m), what each of d features says beyond the others in deviations, it is the sum
of `(tail + 1) / 2 log(1 + u_i^2 / knee)`: Student's t of `tail` degrees of freedom for each of them, of scale
sqrt(knee / tail). So one wild reading counts less than many strange ones. The square root is that of the
correlations, symmetric, which leaves every u_i as near its feature as can be. A window that scores above
the alarm's threshold is learned with weight A / |u|^2, A = |u|^2 at the threshold with all u_i alike, so that
a few anomalies among a device's normal windows move little (Huber 1964).

The covariance takes O(d^2) a window and is factorized, in O(d^3), only when an eighth of what is known is
new.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NEWS = 0.125
_NUMBERS = ("weight", "stray", "shrink", "memory", "tail", "knee", "threshold", "quiet")


@dataclass(frozen=True)
class Prior:
    """The fleet's knowledge; d features.

    Attributes:
        mean: m0, (d,).
        between: B, the spread of devices' means, (d, d).
        within: W, the covariance of windows of one device, (d, d).
        weight: windows that W counts as.
        stray: k; neighbouring windows resemble each other, and a device's mean wanders.
        shrink: share of the correlations that is taken off, so that C can be inverted.
        memory: windows after which older ones fade.
        tail: degrees of freedom of a feature's residual; few: normal windows have wild readings, too.
        knee: its square from which on it counts by its logarithm, in squared deviations.
        threshold: score from which on a window is an alarm.
        quiet: windows without an alarm after which a further one counts as new.
    """

    mean: Floats
    between: Floats
    within: Floats
    weight: float
    stray: float
    shrink: float
    memory: float
    tail: float = 30.0
    knee: float = 30.0
    threshold: float = math.inf
    quiet: float = 0.0

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """As a bundle holds it: `normal.mean`, `.between`, `.within`, and `.numbers` with the rest."""
        numbers = [getattr(self, name) for name in _NUMBERS]
        arrays = {"mean": self.mean, "between": self.between, "within": self.within, "numbers": numbers}
        return {f"normal.{name}": np.asarray(array, dtype=np.float32) for name, array in arrays.items()}

    @staticmethod
    def of(tensors: Mapping[str, NDArray[Any]]) -> Prior:
        """What `tensors` gave.

        Raises:
            ValueError: it is of a version that knew other numbers.
        """
        mean, between, within, numbers = (
            np.asarray(tensors[f"normal.{name}"], dtype=np.float64)
            for name in ("mean", "between", "within", "numbers")
        )
        if len(numbers) != len(_NUMBERS):
            raise ValueError(
                f"the fleet's normal has {len(numbers)} numbers where {len(_NUMBERS)} are read, for another "
                "version of Acclimate trained it: train it again"
            )
        return Prior(mean, between, within, **dict(zip(_NUMBERS, numbers.tolist(), strict=True)))


@dataclass
class State:
    """What a device learned: the number of windows by weight, their mean (d,) and scatter (d, d)."""

    count: float
    mean: Floats
    scatter: Floats

    @staticmethod
    def empty(size: int) -> State:
        return State(0.0, np.zeros(size), np.zeros((size, size)))


class Normality:
    """One device's normal; see the module.

    Args:
        prior: the fleet's.
        state: what was learned before; None for nothing.
    """

    def __init__(self, prior: Prior, state: State | None = None) -> None:
        self.prior = prior
        self.state = state or State.empty(len(prior.mean))
        self._refresh()

    def score(self, z: Floats) -> float:
        """The score of one window's features (d,): 0 at the mode, above the threshold an anomaly."""
        return float(self.scores(z[None])[0])

    def scores(self, z: Floats) -> Floats:
        """The scores of windows (n, d)."""
        return tailed(self.residuals(z), self.prior.tail, self.prior.knee)

    def residuals(self, z: Floats) -> Floats:
        """u of windows (n, d): without correlations, in deviations."""
        whitened: Floats = (z - self._centre) @ self._whiten
        return whitened

    @property
    def log_volume(self) -> float:
        """Half the log determinant of the covariance: what makes scores of different priors comparable."""
        return self._log_volume

    def learn(self, z: Floats) -> None:
        """Take one window (d,) as normal."""
        state, weight = self.state, self._weight(z)
        fade = min(1.0, (self.prior.memory - 1.0) / state.count) if state.count > 0.0 else 1.0
        kept = state.count * fade
        state.count = kept + weight
        step = (z - state.mean) * (weight / state.count)
        state.scatter = state.scatter * fade + np.outer(z - state.mean, step) * kept
        state.mean = state.mean + step
        self._news += weight
        if self._news >= max(1.0, state.count * _NEWS):
            self._refresh()

    def learned(self, z: Floats) -> Normality:
        """`learn` of a copy: whoever holds this one goes on with what it knows."""
        after = copy.copy(self)
        after.state = copy.copy(self.state)
        after.learn(z)
        return after

    def learn_many(self, z: Floats) -> None:
        """`learn` for windows (n, d) in their order."""
        for one in z:
            self.learn(one)

    def _weight(self, z: Floats) -> float:
        """What a window counts in learning."""
        prior = self.prior
        if math.isinf(prior.threshold):
            return 1.0
        u = self.residuals(z[None])
        if tailed(u, prior.tail, prior.knee)[0] <= prior.threshold:
            return 1.0
        allowed = prior.knee * math.expm1(2.0 * prior.threshold / ((prior.tail + 1.0) * u.size))
        return min(1.0, allowed * u.size / float((u * u).sum()))

    def _refresh(self) -> None:
        """Factorize what is known now."""
        prior, state, n = self.prior, self.state, self.state.count
        unsure = prior.between
        self._centre = prior.mean
        scatter = state.scatter
        if n > 0.0:
            noise = prior.within * (prior.stray / n)
            trust = np.linalg.solve(prior.between + noise, prior.between).T
            self._centre = prior.mean + trust @ (state.mean - prior.mean)
            unsure = prior.between - trust @ prior.between
            off = state.mean - self._centre
            scatter = scatter + n * np.outer(off, off)
        covariance = (prior.weight * prior.within + scatter) / (prior.weight + n) + unsure
        spread = np.sqrt(np.diag(covariance))
        correlation = (1.0 - prior.shrink) * covariance / np.outer(spread, spread)
        correlation[np.diag_indices_from(correlation)] = 1.0
        values, vectors = np.linalg.eigh(correlation)
        if not values[0] > 0.0:
            raise np.linalg.LinAlgError(f"the correlations have an eigenvalue of {values[0]:.3g}")
        self._whiten: Floats = (vectors / np.sqrt(values)) @ vectors.T / spread[:, None]
        self._log_volume = float(np.log(spread).sum() + np.log(values).sum() / 2.0)
        self._news = 0.0


def tailed(residuals: Floats, tail: float, knee: float) -> Floats:
    """Scores of residuals (n, d), see the module."""
    scored: Floats = 0.5 * (tail + 1.0) * np.log1p(residuals * residuals / knee).sum(-1)
    return scored
