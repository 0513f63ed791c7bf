"""Windows out of readings that come one at a time, at the even steps of the bundle's training if it has some.

windows = Windows(device.manifest)
for moment, reading in sensor:
    for x in windows.add(reading, moment):
        device.predict_one(x)
"""

from __future__ import annotations

import datetime as dt
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate_device import calendar
from acclimate_device.errors import InputError
from acclimate_device.online import given
from acclimate_device.protocol import Manifest
from acclimate_device.resampling import Row, even_steps, recorded


class Windows:
    """The latest rows of a device, given as a window whenever enough of them are new.

    Args:
        manifest: of the bundle.
        every: rows between two windows; by default a window's length, so that no two share a row.
    """

    def __init__(self, manifest: Manifest, every: int | None = None) -> None:
        self._entry = manifest.input
        self.channels = recorded(self._entry)
        self._every = self._entry.window if every is None else every
        self._even = even_steps(self._entry)
        self._dtype = np.float64 if self._entry.preprocessing.offset else np.float32  # as training has rows
        self._rows: deque[tuple[float, NDArray[Any]]] = deque(maxlen=self._entry.window)
        self._new = 0

    def add(
        self,
        values: Sequence[float] | Mapping[str, float],
        moment: float | dt.datetime | np.datetime64 | None = None,
    ) -> list[NDArray[Any]]:
        """Take a reading, and give the windows that it completes: none, one, or several after a gap.

        Args:
            values: of every channel that a sensor gives, in order or by name; NaN where one was not read.
            moment: when, as in `Forecaster.observe_one`. Needed where the bundle evens its steps or takes the
                calendar.

        Raises:
            InputError: not a number a channel, or a moment that is missing or not after the last one.
        """
        row = self._read(values)
        at = math.nan if moment is None else given.seconds(moment, self._entry.time_unit_s)
        if self._even is None:
            return self._taken(Row(at, row, anew=False))
        if moment is None:
            raise InputError("the bundle evens the steps between readings: give the time of each")
        if given.set_back(self._even.moment, at, self._entry.time_unit_s):
            self._even = even_steps(self._entry) or self._even  # whose first row begins anew
        return [window for one in self._even.add(row, at) for window in self._taken(one)]

    def _taken(self, row: Row) -> list[NDArray[Any]]:
        if row.anew:
            self._rows.clear()
            self._new = 0
        self._rows.append((row.moment, row.values))
        self._new += 1
        if len(self._rows) < self._entry.window or self._new < self._every:
            return []
        self._new = 0
        return [self._window()]

    def _window(self) -> NDArray[Any]:
        values = np.stack([row for _, row in self._rows])
        if self._entry.calendar:
            moments = np.array([moment for moment, _ in self._rows]) * self._entry.time_unit_s
            if not np.isfinite(moments).all():
                raise InputError("the bundle takes the calendar: give the time of each reading")
            values = np.concatenate([values, calendar.inputs(moments, self._entry.calendar)], axis=1)
        return values[-1] if len(self._entry.shape) == 1 else values.T

    def _read(self, values: Any) -> NDArray[Any]:
        row = given.row(values, self.channels, self._dtype)
        absent = np.isin(row, np.asarray(self._entry.preprocessing.absent, self._dtype))
        return np.where(absent, self._dtype(np.nan), row)
