"""Readings that come at uneven times as rows an even step apart: one implementation for training and device.

A step ends at a whole multiple of its length, counted from the clock's zero, so that it lies alike on every
device. A channel's row is the mean of its readings in the step, of a counter the last one; a step without a
reading is a gap. After a longer pause the rows begin anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate_device import calendar
from acclimate_device.errors import InputError
from acclimate_device.protocol.manifest import Input

_NEAR = 1e-3
"""Of a step, within which a reading lies at its end."""

Integers = NDArray[np.int64]


def step_of(moments: Any, step: float) -> Integers:
    """The step in which each moment lies; step n ends at `n * step`."""
    ends = np.asarray(moments, np.float64) / step
    near = np.round(ends)
    return np.where(np.abs(ends - near) < _NEAR, near, np.ceil(ends)).astype(np.int64)


def gathered(values: NDArray[Any], step: Integers, last: NDArray[np.bool_]) -> NDArray[Any]:
    """A row for each step that holds a reading.

    Args:
        values: readings (n, channels) in order; NaN where a channel was not read.
        step: of each, never falling, (n,).
        last: channels of which the last reading counts and not the mean, (channels,).

    Returns:
        (steps, channels) of the same type; NaN where a channel was not read in the whole step.
    """
    first = np.concatenate([[True], np.diff(step) != 0]) if len(step) else np.zeros(0, bool)
    group = np.cumsum(first) - 1
    count = int(first.sum())
    rows = np.full((count, values.shape[1]), np.nan, dtype=values.dtype)
    for channel, column in enumerate(values.T):
        known = np.flatnonzero(~np.isnan(column))
        if last[channel]:
            rows[group[known], channel] = column[known]  # of several, numpy keeps the last one
            continue
        # bincount adds one after the other, as a device would, and not in pairs
        total = np.bincount(group[known], column[known].astype(np.float64), minlength=count)
        number = np.bincount(group[known], minlength=count)
        held = number > 0
        rows[held, channel] = total[held] / number[held]
    return rows


class Row(NamedTuple):
    """A row at the end of its step; `anew`: after a pause that nothing may look back over."""

    moment: float
    values: NDArray[Any]
    anew: bool


class EvenSteps:
    """Rows out of readings that come one at a time; a step's row comes with the first reading after it, or
    with one at its very end.

    Args:
        step: length, in the unit of the moments.
        pause: steps without a reading, one after the other, after which rows begin anew.
        last: channels of which the last reading counts.
    """

    def __init__(self, step: float, pause: int, last: NDArray[np.bool_]) -> None:
        self._step, self._pause, self._last = step, pause, last
        self._open: list[NDArray[Any]] = []
        self._at: int | None = None  # the step of the latest reading
        self._before: int | None = None  # the latest step that has its row
        self.moment = -np.inf  # of the latest reading

    def add(self, values: NDArray[Any], moment: float) -> list[Row]:
        """Take a reading (channels,), and give the rows that are complete with it.

        Raises:
            InputError: it does not come after the last one.
        """
        if not moment > self.moment:
            raise InputError(
                f"the time {moment} is not after the last one's, {self.moment}: give readings in order, "
                "each once"
            )
        at = int(step_of(moment, self._step))
        rows = self._closed() if self._at is not None and at > self._at else []
        self.moment, self._at = moment, at
        self._open.append(values)
        if abs(at * self._step - moment) < _NEAR * self._step:
            rows += self._closed()
        return rows

    def _closed(self) -> list[Row]:
        if not self._open or self._at is None:
            return []
        values = gathered(np.stack(self._open), np.zeros(len(self._open), np.int64), self._last)[0]
        between = 0 if self._before is None else self._at - self._before - 1
        anew = self._before is None or between >= self._pause
        gap = np.full_like(values, np.nan)
        first = self._at - (0 if anew else between)
        rows = [Row(number * self._step, gap, False) for number in range(first, self._at)]
        self._open, self._before = [], self._at
        return [*rows, Row(self._at * self._step, values, anew)]


def even_steps(entry: Input) -> EvenSteps | None:
    """For a bundle's readings; None where it takes rows as they come."""
    steps = entry.preprocessing
    if not steps.step_s:
        return None
    return EvenSteps(steps.step_s / entry.time_unit_s, steps.pause, np.isin(recorded(entry), steps.relative))


def recorded(entry: Input) -> Sequence[str]:
    """The channels of a bundle that a sensor gives; the others come of the calendar."""
    return entry.channels[: len(entry.channels) - len(calendar.input_names(entry.calendar))]
