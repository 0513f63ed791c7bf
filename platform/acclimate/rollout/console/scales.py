"""The maths of axes: where ticks fall and where values lie. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_TIME_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200),
    *(86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000),
)


@dataclass(frozen=True)
class Scale:
    """A straight map of the values `low`..`high` to the pixels `start`..`end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def bounds(values: Sequence[float], padding: float = 0.08) -> tuple[float, float]:
    """The range an axis must show for finite `values`, widened by a share; never empty."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    margin = (high - low) * padding or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) within `low`..`high`."""
    raw = (high - low) / max(count, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def time_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """About `count` round UTC instants within `low`..`high` (Unix seconds), each with its label."""
    raw = (high - low) / max(count, 1)
    step = next((step for step in _TIME_STEPS_S if step >= raw), _TIME_STEPS_S[-1])
    instants = [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
    layout = "%d %b" if step >= 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
    return [(instant, datetime.fromtimestamp(instant, UTC).strftime(layout)) for instant in instants]


def number(value: float) -> str:
    """A number as short as it can be read: four significant digits, thousands with a thin comma."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
