"""Alarms, and how many false ones a threshold costs: what a budget is spent on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MONTH_S = 30.44 * 86_400
CONFIDENCE = 0.95
_LEVELS = 200


@dataclass(frozen=True)
class Budget:
    """How many false alarms a device may give.

    Attributes:
        a_month: alarms of one device in a month of 30.44 days.
        quiet: windows without an alarm after which a further one counts as new.
        window_s: seconds from one window to the next.
    """

    a_month: float
    quiet: int
    window_s: float

    def months(self, windows: int) -> float:
        """How long so many windows last."""
        return windows * self.window_s / MONTH_S

    @staticmethod
    def of(a_month: float, quiet: int, step: int, sample_rate_hz: float | None) -> Budget:
        """For windows that begin every `step` rows.

        Raises:
            DataError: nobody knows how long a row lasts, so no budget can be kept.
        """
        if not sample_rate_hz:
            raise DataError(
                "a budget of false alarms is one of time: give `sample_rate_hz`, the rows a second, such as "
                "0.0033333 for one in five minutes"
            )
        return Budget(a_month, quiet, step / sample_rate_hz)


def alarms(scores: Floats, threshold: float, quiet: int) -> npt.NDArray[np.int64]:
    """Windows at which an alarm begins: none was within the `quiet` windows before."""
    above = np.flatnonzero(scores > threshold)
    if len(above) == 0:
        return above
    return above[np.concatenate([[True], np.diff(above) > quiet])]


def false_alarms(scores: Floats, normal: Mask, threshold: float, quiet: int) -> int:
    """Alarms that begin in a normal window, and no anomaly was within the `quiet` windows before."""
    begun = alarms(scores, threshold, quiet)
    anomalous = np.concatenate([[0], np.cumsum(~normal)])
    recent = anomalous[begun + 1] - anomalous[np.maximum(begun - quiet, 0)]
    return int((recent == 0).sum())


def found(scores: Floats, normal: Mask, threshold: float) -> tuple[int, int]:
    """Stretches of anomalous windows with one above the threshold, and all of them."""
    edges = np.diff(np.concatenate([[0], (~normal).astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    hit = sum(bool((scores[begin:end] > threshold).any()) for begin, end in zip(begins, ends, strict=True))
    return hit, len(begins)


def threshold_within(devices: Sequence[tuple[Floats, Mask]], budget: Budget) -> float:
    """The lowest threshold at which devices give at most the budget of false alarms, mean and spread.

    What is held against the budget is the upper end of Student's one-sided 95 % interval of the mean over
    devices, for the devices to come are others. The candidates are high quantiles of the normal scores.

    Args:
        devices: scores of each device in time order, and which windows are normal.
    """
    from scipy.stats import t  # a second of imports, for one kind of data

    errors = float(t.ppf(CONFIDENCE, len(devices) - 1)) if len(devices) > 1 else 0.0
    everything = np.concatenate([scores[normal] for scores, normal in devices])
    levels = 1 - np.geomspace(0.2, 0.2 / max(len(everything), 2), _LEVELS)
    best = float(everything.max())
    for candidate in np.quantile(everything, levels)[::-1]:
        rates = np.array(
            [
                false_alarms(scores, normal, candidate, budget.quiet) / budget.months(int(normal.sum()))
                for scores, normal in devices
            ]
        )
        error = rates.std(ddof=1) / len(rates) ** 0.5 if len(rates) > 1 else 0.0
        if rates.mean() + errors * error > budget.a_month:
            return best
        best = float(candidate)
    return best
