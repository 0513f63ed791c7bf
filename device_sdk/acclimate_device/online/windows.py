"""Windows out of readings that come one at a time, at the even steps of the bundle's training if it has some.

windows = Windows(device.manifest)
for moment, reading in sensor:
    for x in windows.add(reading, moment):
        device.predict_one(x)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate_device import calendar
from acclimate_device.errors import InputError
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
        self, values: Sequence[float] | Mapping[str, float], moment: float | None = None
    ) -> list[NDArray[Any]]:
        """Take a reading, and give the windows that it completes: none, one, or several after a gap.

        Args:
            values: of every channel that a sensor gives, in order or by name; NaN where one was not read.
            moment: seconds since 1970, or the recordings' own unit, on their clock. Needed where the bundle
                evens its steps or takes the calendar.

        Raises:
            InputError: not a number a channel, or a moment that is missing or not after the last one.
        """
        row = self._read(values)
        if self._even is None:
            return self._taken(Row(math.nan if moment is None else float(moment), row, anew=False))
        if moment is None or not math.isfinite(moment):
            raise InputError("the bundle evens the steps between readings: give the time of each")
        return [window for one in self._even.add(row, float(moment)) for window in self._taken(one)]

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
        if isinstance(values, Mapping):
            missing = [channel for channel in self.channels if channel not in values]
            if missing:
                raise InputError(f"the reading has no channel {missing[0]!r}: give {list(self.channels)}")
            values = [values[channel] for channel in self.channels]
        try:
            row = np.asarray(values, self._dtype).reshape(-1)
        except (TypeError, ValueError):
            raise InputError(f"the reading {values!r} is not numbers: give {list(self.channels)}") from None
        if row.shape != (len(self.channels),):
            raise InputError(f"the reading holds {row.size} numbers: give one for each of {self.channels}")
        absent = np.isin(row, np.asarray(self._entry.preprocessing.absent, self._dtype))
        return np.where(absent, self._dtype(np.nan), row)
