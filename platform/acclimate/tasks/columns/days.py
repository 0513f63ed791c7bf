"""The days that a column of dates holds when day, month and year are read in one order or another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_DAY_S = 86_400.0
_FEWEST_TIMED, _FEWEST_DAYS = 3, 13
_NIGHT_H = 8
"""Hours of the day without a row from which on rows may be visits of one day, and no recording goes on."""
_DENSE, _SPARSE = 0.6, 0.2
"""Share of the days from the first to the last that rows have, where days follow on each other or do not."""


@dataclass
class Days:
    """The days that one way to read a column gives.

    Attributes:
        days: numbers of days since 1970.
        several: rows of one day differ in their time of day.
        hours: of the day that rows have.
    """

    days: set[int] = field(default_factory=set)
    several: bool = False
    hours: set[int] = field(default_factory=set)

    def see(self, seconds: npt.NDArray[np.float64]) -> None:
        """Take moments in the order of the rows."""
        days = np.floor(seconds / _DAY_S).astype(np.int64)
        found = np.unique(days)
        self.several |= len(np.unique(seconds)) > 2 * len(found)
        self.days.update(found.tolist())
        self.hours.update(np.unique(seconds % _DAY_S // 3600).astype(np.int64).tolist())

    def follow(self, readings: Iterable[Days]) -> bool:
        """Whether these days follow on each other, and those of other readings lie far apart.

        The first of a year's months, read with month first, are the first twelve days of January: it takes
        more days than a year has months, unless rows go on through the night.
        """
        others = [one for one in readings if one.days != self.days]
        enough = len(self.days) >= (_FEWEST_TIMED if self.several and self._day_and_night else _FEWEST_DAYS)
        return enough and self._dense > _DENSE and all(one._dense < _SPARSE for one in others)

    @property
    def _day_and_night(self) -> bool:
        hours = sorted(self.hours)
        return max(np.diff([*hours, hours[0] + 24])) <= _NIGHT_H

    @property
    def _dense(self) -> float:
        return len(self.days) / (max(self.days) - min(self.days) + 1)
