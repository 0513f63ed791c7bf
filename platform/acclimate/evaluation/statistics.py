"""Figures over held-out tasks: the task is the unit, its draws and seeds are averaged first.

Draws of one task are not independent evidence about the fleet, so they never narrow an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CONFIDENCE = 0.95
MOST_UNITS = 1_000  # nobody records more to tell apart what is so much alike
ROUNDING = 1e-6
_CHANCES = 1.96 + 0.84  # of a two-sided 95 % interval that excludes nought in four cases of five


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


@np.errstate(invalid="ignore", over="ignore")  # figures of what overflowed are not finite
def summarize(
    values: Values, tasks: Sequence[str], higher_is_better: bool, groups: Sequence[str] = ()
) -> Summary:
    """Summary of one value a task, `(tasks,)`: shares of right answers, or errors.

    Args:
        groups: the device, person or site of each task; by default each task is its own.
    """
    worst = int(values.argmin() if higher_is_better else values.argmax())
    low, high = interval(values, groups, bounds=(0.0, 1.0) if higher_is_better else (0.0, np.inf))
    return Summary(
        mean=float(values.mean()),
        low=low,
        high=high,
        quantiles={str(level): float(np.quantile(values, level)) for level in QUANTILES},
        worst=float(values[worst]),
        worst_task=tasks[worst],
        values=values.tolist(),
    )


@np.errstate(invalid="ignore", over="ignore")  # figures of what overflowed are not finite
def interval(
    values: Values,
    groups: Sequence[str] = (),
    confidence: float = CONFIDENCE,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Two-sided confidence interval of the mean of `values`, by Student's t.

    Args:
        groups: of each value, `(tasks,)`; values of one group are no independent evidence, so the spread is
            that of the groups' means. By default each value is its own group.
        bounds: what a mean can be: Student's t knows none, and would promise an accuracy of 104 %.
    """
    mean = float(values.mean())
    units = unit_means(values, groups)
    if len(units) < 2:
        return mean, mean
    from scipy.special import stdtrit  # half a second of imports, that no worker needs

    t = float(stdtrit(len(units) - 1, (1 + confidence) / 2))
    half = t * float(units.std(ddof=1)) / len(units) ** 0.5
    return max(mean - half, bounds[0]), min(mean + half, bounds[1])


@np.errstate(invalid="ignore")
def gains_of(own: npt.ArrayLike, theirs: npt.ArrayLike, higher_is_better: bool) -> Values:
    """By task, above zero where `own` is better; not finite where one of the two overflowed.

    Figures are sums of float32: what differs by less than `ROUNDING` of itself does not differ.
    """
    gains: Values = np.subtract(own, theirs) if higher_is_better else np.subtract(theirs, own)
    rounded = np.abs(gains) <= ROUNDING * np.maximum(np.abs(own), np.abs(theirs))
    return np.where(rounded & np.isfinite(gains), 0.0, gains)


@np.errstate(invalid="ignore", over="ignore")
def mean_of(values: Values) -> float:
    """Over tasks; NaN where it has none."""
    return float(values.mean())


def gain_bounds(higher_is_better: bool) -> tuple[float, float]:
    """What a gain can be: shares differ by at most all of them."""
    return (-1.0, 1.0) if higher_is_better else (-np.inf, np.inf)


def unit_means(values: Values, groups: Sequence[str]) -> Values:
    """The mean of each group, in order of first appearance; the values themselves where there are none."""
    if not groups:
        return values
    return np.array([values[[each == group for each in groups]].mean() for group in dict.fromkeys(groups)])


def units_to_decide(gains: Values, margin: float) -> int | None:
    """Held-out devices after which a mean gain like this one, or the lack of it, would most likely be proven.

    By the usual normal approximation: a two-sided 95 % interval, and four chances in five to prove it
    (Cohen 1988). None where the spread is unknown, or more than `MOST_UNITS` would be needed.

    Args:
        margin: a gain below it is not worth having: to tell it from none is never needed.
    """
    if len(gains) < 2:
        return None
    effect = max(abs(float(gains.mean())), margin)
    spread = float(gains.std(ddof=1))
    if effect <= 0 or not np.isfinite(effect) or not np.isfinite(spread):
        return None
    deviations = _CHANCES * spread / effect
    return max(2, math.ceil(deviations**2)) if deviations <= MOST_UNITS**0.5 else None


def longer_to_decide(draws: Values, groups: Sequence[str], margin: float) -> float | None:
    """How many times as long the recordings of the same devices would have to be to decide as well.

    What differs between a device's own episodes shrinks as its recordings grow; what differs between devices
    does not. None where the latter alone is too much, or the episodes do not tell the two apart.

    Args:
        draws: the gain in each episode of each task, `(draws, tasks)`.
        groups: of each task.
        margin: as for `units_to_decide`.
    """
    if len(draws) < 2:
        return None
    each = np.stack([unit_means(draw, groups) for draw in draws])
    units = each.mean(axis=0)
    if len(units) < 2 or not np.isfinite(each).all():
        return None
    within = float(each.var(axis=0, ddof=1).mean()) / len(draws)
    between = max(0.0, float(units.var(ddof=1)) - within)
    enough = len(units) * (max(abs(float(units.mean())), margin) / _CHANCES) ** 2
    return max(1.0, within / (enough - between)) if enough > between and within > 0 else None
