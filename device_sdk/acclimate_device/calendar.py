"""What a calendar says of a moment, as inputs of a model: one implementation for training and devices.

A moment is in seconds since 1970 on the clock that the recordings were made with: local time where they name
no zone. A cycle becomes a few numbers between -1 and 1, so that its end meets its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400.0
YEAR_S = 365.2425 * DAY_S
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday

Moments = NDArray[np.float64]


def input_names(cycles: Sequence[str]) -> tuple[str, ...]:
    """The names of the inputs that `inputs` gives, in its order."""
    return tuple(f"calendar {name}" for cycle in cycles for name in _NAMES[cycle])


def inputs(moments: Moments, cycles: Sequence[str]) -> NDArray[np.float32]:
    """Calendar inputs, `(moments, inputs)`.

    Args:
        moments: seconds, (moments,).
        cycles: of `CYCLES`: `day` gives two harmonics as sine and cosine, `week` one of seven for a weekday,
            `year` one harmonic.
    """
    parts = [_OF_CYCLE[cycle](np.asarray(moments, np.float64)) for cycle in cycles]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _day(moments: Moments) -> NDArray[np.float64]:
    return np.concatenate([_harmonic(moments / DAY_S), _harmonic(2 * moments / DAY_S)], axis=1)


def _week(moments: Moments) -> NDArray[np.float64]:
    weekday = (np.floor(moments / DAY_S).astype(np.int64) + _FIRST_WEEKDAY) % 7
    return np.eye(7)[weekday]


def _year(moments: Moments) -> NDArray[np.float64]:
    return _harmonic(moments / YEAR_S)


def _harmonic(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    angle = 2 * np.pi * (turns - np.floor(turns))
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


_OF_CYCLE: Mapping[str, Callable[[Moments], NDArray[np.float64]]] = {
    "day": _day,
    "week": _week,
    "year": _year,
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "day": ("day sine", "day cosine", "half-day sine", "half-day cosine"),
    "week": _WEEKDAYS,
    "year": ("year sine", "year cosine"),
}
CYCLES = tuple(_OF_CYCLE)
