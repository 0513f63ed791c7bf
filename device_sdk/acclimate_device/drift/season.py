"""What inputs were like at each hour of the week: a profile that a device makes of its own past."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

HOURS = 168
_MOST = 64
"""Evidence an hour's mean counts at most: older weeks fade."""


class Season:
    """Means of some features by hour of the week.

    Args:
        width: how many features.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._counts = array("H", bytes(2 * HOURS))
        self._means = array("f", bytes(4 * HOURS * width))

    def add(self, at: float, values: Sequence[float]) -> None:
        """Take the features of a moment, in seconds."""
        hour = _hour(at)
        self._counts[hour] = count = min(self._counts[hour] + 1, _MOST)
        for place, value in enumerate(values, hour * self._width):
            self._means[place] += (value - self._means[place]) / count

    def alike(self, at: float) -> Iterator[Sequence[float]]:
        """How inputs were around this hour: a week ago, and on each other day, an hour early and late."""
        hour = _hour(at)
        for days in range(HOURS // 24):
            for shift in (0, -1, 1):
                other = (hour + 24 * days + shift) % HOURS
                if self._counts[other]:
                    yield self._means[other * self._width : (other + 1) * self._width]


def _hour(at: float) -> int:
    return int(at // 3600.0) % HOURS
