"""Which of several forecasts to trust, by how they did lately: for each lead and target on its own.

Experts are weighed by their recent mean absolute error to the power of -8: a tenth less error counts twice.
Averaging does harm where one expert is simply best; so the blends themselves are candidates beside the
experts, and what answers is the candidate whose error was least over a longer time. Until there is evidence,
that is the start: every other candidate begins as if it had done somewhat worse over one season.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Errors = NDArray[np.float64]

POWER = 8.0
SEASONS = 7  # half-life of what weighs the experts
LONG = 4  # times that: of what chooses the candidate
_DOUBT = 1.1
_SMALLEST = 1e-6


class Blend:
    """Trust in experts, of which the first is the start and the first `models` come from the bundle.

    Args:
        experts, models: how many.
        leads, targets: shape of a forecast.
        season: rows of the shortest season, or of a time that is as long.
    """

    def __init__(self, experts: int, models: int, leads: int, targets: int, season: int) -> None:
        self.experts, self._models = experts, models
        shape = experts + 2, leads, targets
        self._short, self._long = _Recent(shape, SEASONS * season), _Recent(shape, LONG * SEASONS * season)
        self._prior = float(season)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of candidates: experts and two blends, leads, targets."""
        return self._short.sum.shape

    def state(self) -> dict[str, Errors]:
        """The errors so far, for `restore`."""
        short, long = self._short, self._long
        return {
            "short.sum": short.sum,
            "short.count": short.count,
            "long.sum": long.sum,
            "long.count": long.count,
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state` of a blend of the same shape.

        Raises:
            KeyError, ValueError: it is none.
        """
        if any(one.shape != self.shape or not np.isfinite(one).all() for one in state.values()):
            raise ValueError(f"errors of another shape than {self.shape}, or numbers that are none")
        for name, part in (("short", self._short), ("long", self._long)):
            part.sum, part.count = state[f"{name}.sum"], state[f"{name}.count"]

    def candidates(self, forecasts: Float) -> Float:
        """The experts' forecasts (experts, leads, targets), then the blends of the bundle's and of all."""
        weights = self._short.estimate(self._prior)[: self.experts] ** -POWER
        weights = np.where(np.isfinite(forecasts), weights, 0.0)
        known = np.where(np.isfinite(forecasts), forecasts, 0.0)
        blends = [
            (weights[:until] * known[:until]).sum(axis=0) / weights[:until].sum(axis=0)
            for until in (self._models, self.experts)
        ]
        return np.concatenate([forecasts, np.stack(blends)]).astype(np.float32)

    def chosen(self) -> NDArray[np.int64]:
        """The candidate that answers, (leads, targets)."""
        best: NDArray[np.int64] = self._long.estimate(self._prior).argmin(axis=0)
        return best

    def answer(self, candidates: Float) -> Float:
        """The forecast (leads, targets) of the chosen candidates; of the start where one of them has none."""
        picked = np.take_along_axis(candidates, self.chosen()[None], axis=0)[0]
        answer: Float = np.where(np.isfinite(picked), picked, candidates[0])
        return answer

    def score(self, candidates: Float, actual: Float) -> None:
        """Learn what the targets (targets,) really were now, forecast as `candidates` (candidates, leads,
        targets); NaN where nothing was forecast, or measured."""
        errors = np.abs(candidates - actual).astype(np.float64)
        self._short.add(errors)
        self._long.add(errors)


class _Recent:
    """Exponentially fading means of errors, (candidates, leads, targets)."""

    def __init__(self, shape: tuple[int, int, int], half_life: float) -> None:
        self._keep = 0.5 ** (1.0 / half_life)
        self.sum: Errors = np.zeros(shape)
        self.count: Errors = np.zeros(shape)

    def add(self, errors: Errors) -> None:
        known = np.isfinite(errors)
        self.sum = np.where(known, self._keep * self.sum + errors, self.sum)
        self.count = np.where(known, self._keep * self.count + 1.0, self.count)

    def estimate(self, prior: float) -> Errors:
        """Mean errors; while little is known, those of others are drawn to somewhat more than the start's."""
        start = self.sum[:1] / np.maximum(self.count[:1], _SMALLEST)
        start = np.where(self.count[:1] > 0, np.maximum(start, _SMALLEST), 1.0)
        doubted = (self.sum + prior * _DOUBT * start) / (self.count + prior)
        doubted[0] = start[0]
        return np.maximum(doubted, _SMALLEST)
