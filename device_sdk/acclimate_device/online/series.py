"""The latest rows of a device's series, from which a forecast's inputs and, later, its answers are taken.

Rows come one at a time, as measured. A gap is filled as training filled gaps, by the value of one season
before or the last one; what was filled in is never an answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate_device import calendar
from acclimate_device.errors import BeyondError, InputError
from acclimate_device.online import given
from acclimate_device.preprocessing import spellings
from acclimate_device.protocol import Manifest, Preprocessing

Float = NDArray[np.float32]


class Series:
    """At most as many rows as the bundle looks back, and its horizon."""

    def __init__(self, manifest: Manifest) -> None:
        entry, output = manifest.input, manifest.output
        self.channels = entry.channels[: len(entry.channels) - len(calendar.input_names(entry.calendar))]
        steps = entry.preprocessing
        self._dtype = np.float64 if steps.relative or steps.offset else np.float32  # as training has them
        self._absent = spellings(steps.absent).astype(self._dtype)
        self._low, self._high = self._bounds(steps)
        self._calendar, self._unit_s = entry.calendar, entry.time_unit_s
        self._step = (steps.step_s, steps.pause) if steps.step_s else ()
        self._lags = np.array(entry.lags or tuple(range(entry.window - 1, -1, -1)))
        self._seasons = tuple(sorted(output.seasons, reverse=True))
        self._targets = [self.channels.index(target) for target in output.targets]
        self.steps = output.steps
        self._limit = int(self._lags[0]) + 1 + self.steps[-1]
        self._values = np.empty((2 * self._limit, len(self.channels)), self._dtype)
        self._measured = np.empty((2 * self._limit, len(self._targets)), bool)
        self._times = np.empty(2 * self._limit)
        self._held = 0
        self.rows = 0

    @property
    def layout(self) -> tuple[object, ...]:
        """Equal for series that may follow one another."""
        return (
            self.channels,
            self._calendar,
            self._unit_s,
            *self._step,
            tuple(self._lags.tolist()),
            self._seasons,
            tuple(self._targets),
            self.steps,
        )

    @property
    def moment(self) -> float:
        """Of the latest row; minus infinity before the first."""
        return float(self._times[self._held - 1]) if self._held else -math.inf

    def __len__(self) -> int:
        return min(self._held, self._limit)

    def state(self) -> dict[str, NDArray[Any]]:
        """The rows that are still looked back to, for `restore`."""
        rows = slice(self._held - len(self), self._held)
        return {
            "values": self._values[rows],
            "measured": self._measured[rows].astype(np.int32),
            "times": self._times[rows],
            "rows": np.array([self.rows], np.int64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state` of a series of the same layout; this one is empty.

        Raises:
            KeyError, ValueError: it is none.
        """
        held = len(state["times"])
        if (
            held > self._limit
            or not np.isfinite(state["times"]).all()
            or (np.diff(state["times"]) <= 0).any()
        ):
            raise ValueError("not the rows of such a series")
        for column, name in ((self._values, "values"), (self._measured, "measured"), (self._times, "times")):
            column[:held] = state[name].reshape(held, *column.shape[1:])
        self._held, self.rows = held, int(state["rows"][0])

    def missed(self, moment: float) -> list[float] | None:
        """Moments of the rows that came before `moment` and were not seen; None where that cannot be told,
        because the rows so far came at uneven times, or too many are missing to look back beyond them."""
        if len(self) < 3:
            return None
        times = self._times[self._held - len(self) : self._held]
        each = float(np.median(np.diff(times)))
        count = round((moment - times[-1]) / each) - 1
        if count > 0 and (np.diff(times).max() > 1.5 * each or count >= self._limit):
            return None
        return [float(times[-1]) + each * (1 + number) for number in range(count)]

    def add(self, values: Sequence[float] | Mapping[str, float], moment: float) -> None:
        """Take a row.

        Args:
            values: of every channel that was recorded, in order or by name; NaN where nothing was measured.
            moment: seconds since 1970, on the clock of the recordings.

        Raises:
            InputError: not a number a channel, infinity, a moment that is none or not after the last one, or
                far outside of what training saw where the bundle refuses that.
        """
        row = self.checked(values, moment)
        if self._held == len(self._values):
            for column in (self._values, self._measured, self._times):
                column[: self._limit] = column[self._limit :]
            self._held = self._limit
        self._measured[self._held] = np.isfinite(row[self._targets])
        self._values[self._held] = self._filled(row)
        self._times[self._held] = moment
        self._held += 1
        self.rows += 1

    def input(self, back: int = 0) -> NDArray[Any] | None:
        """What the graphs take, as recorded, for the forecast made `back` rows before the latest; None where
        it looks back further than rows came, or to a gap that nothing filled."""
        latest = self._held - 1 - back
        if latest - int(self._lags[0]) < max(0, self._held - self._limit):
            return None
        at = latest - self._lags
        x: NDArray[Any] = self._values[at].T
        if not np.isfinite(x).all():
            return None
        if not self._calendar:
            return x
        told = calendar.inputs(self._times[at] * self._unit_s, self._calendar)
        whole: NDArray[Any] = np.concatenate([x, told.T])
        return whole

    def at_lags(self, lags: Sequence[int]) -> Float:
        """The targets so many rows before the latest, (lags, targets); NaN where none is known."""
        at = self._held - 1 - np.asarray(lags)
        known = at >= max(0, self._held - self._limit)
        values = self._values[np.where(known, at, 0)][:, self._targets]
        found: Float = np.where(known[:, None], values, np.nan).astype(np.float32)
        return found

    def latest(self) -> Float:
        """The targets as they were just measured, (targets,); NaN where they were not."""
        now: Float = self.answers(0, (0,))[0]
        return now

    def answers(self, back: int, steps: Sequence[int]) -> Float:
        """The targets so many steps after the row `back` rows before the latest, (steps, targets)."""
        at = self._held - 1 - back + np.asarray(steps)
        values: Float = np.where(self._measured[at], self._values[at][:, self._targets], np.nan).astype(
            np.float32
        )
        return values

    def checked(self, values: Sequence[float] | Mapping[str, float], moment: float) -> NDArray[Any]:
        """A row as numbers, NaN where one stands for a missing value.

        Raises:
            InputError: as `add`.
        """
        row = self.read(values)
        if not moment > self.moment:
            raise InputError(
                f"the row's time {moment} is not after the last one's, {self.moment}: give rows in order, "
                "each once"
            )
        return row

    def read(self, values: Sequence[float] | Mapping[str, float]) -> NDArray[Any]:
        """A row as numbers, whenever it was.

        Raises:
            InputError: not a number a channel, or infinity, or far outside of what training saw where the
                bundle refuses that.
        """
        row = given.row(values, self.channels, self._dtype)
        if np.isinf(row).any():
            raise InputError(
                f"the row {given.shown(values)} holds infinity: give NaN where nothing was measured"
            )
        row = np.where(np.isin(row, self._absent), self._dtype(np.nan), row)
        far = (row < self._low) | (row > self._high)
        if far.any():
            channel = self.channels[int(np.argmax(far))]
            raise BeyondError(
                f"channel {channel!r} of the row {given.shown(values)} lies far outside what training saw: "
                "check the sensor and its unit, and give NaN where it is wrong"
            )
        return row

    def _bounds(self, steps: Preprocessing) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What rows lie in where far ones are refused, (channels,); of counters only the rise is bounded."""
        count = len(self.channels)
        free = np.isin(np.asarray(self.channels), steps.relative)
        if steps.beyond != "refuse" or not steps.low:
            free[:] = True
        offset = np.asarray(steps.offset or [0.0])
        low, high = (np.asarray(one or [0.0]) + offset for one in (steps.low, steps.high))
        return np.where(free, -np.inf, low[:count]), np.where(free, np.inf, high[:count])

    def _filled(self, row: NDArray[Any]) -> NDArray[Any]:
        for before in (*self._seasons, 1):
            if before <= len(self) and not np.isfinite(row).all():
                row = np.where(np.isfinite(row), row, self._values[self._held - before])
        return row
