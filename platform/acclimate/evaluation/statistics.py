"""Figures over held-out tasks: the task is the unit, its draws and seeds are averaged first.

Draws of one task are not independent evidence about the fleet, so they never narrow an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Values = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """A metric over tasks.

    Attributes:
        mean: over tasks.
        low: lower end of the two-sided 95 % interval of the mean (Student's t over tasks); the mean itself
            where there is one task.
        high: its upper end.
        quantiles: over tasks, by level.
        worst: the least good task's value.
        worst_task: its name.
        values: of each task, in the order of the evaluation's `tasks`.
    """

    mean: float
    low: float
    high: float
    quantiles: dict[str, float]
    worst: float
    worst_task: str
    values: list[float]


def summarize(values: Values, tasks: Sequence[str], higher_is_better: bool) -> Summary:
    """Summary of one value a task, `(tasks,)`."""
    worst = int(values.argmin() if higher_is_better else values.argmax())
    low, high = interval(values)
    return Summary(
        mean=float(values.mean()),
        low=low,
        high=high,
        quantiles={str(level): float(np.quantile(values, level)) for level in QUANTILES},
        worst=float(values[worst]),
        worst_task=tasks[worst],
        values=values.tolist(),
    )


def interval(values: Values) -> tuple[float, float]:
    """Two-sided confidence interval of the mean of `values`, by Student's t."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean
    t = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    half = t * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean - half, mean + half
