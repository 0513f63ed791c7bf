"""What inputs were like at each hour of the week: a profile that a device makes of its own past."""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
        self._counts: array[int] = array("H", bytes(2 * HOURS))
        self._means: array[float] = array("f", bytes(4 * HOURS * width))

    def add(self, at: float, values: Sequence[float]) -> None:
        """Take the features of a moment, in seconds."""
        hour = _hour(at)
        self._counts[hour] = count = min(self._counts[hour] + 1, _MOST)
        for place, value in enumerate(values, hour * self._width):
            self._means[place] += (value - self._means[place]) / count

    def state(self) -> dict[str, str]:
        """For JSON; `restore` takes it."""
        return {"counts": _text(self._counts), "means": _text(self._means)}

    def restore(self, state: Mapping[str, str]) -> None:
        """Go on from a `state` of as many features.

        Raises:
            ValueError: it is none.
        """
        self._counts = _numbers("H", state["counts"], HOURS)
        self._means = _numbers("f", state["means"], HOURS * self._width)

    def alike(self, at: float) -> Iterator[Sequence[float]]:
        """How inputs were around this hour: a week ago, and on each other day, an hour early and late."""
        hour = _hour(at)
        for days in range(HOURS // 24):
            for shift in (0, -1, 1):
                other = (hour + 24 * days + shift) % HOURS
                if self._counts[other]:
                    yield self._means[other * self._width : (other + 1) * self._width]


def _text(numbers: array[Any]) -> str:
    copy = numbers[:]
    if sys.byteorder == "big":
        copy.byteswap()
    return base64.b64encode(copy.tobytes()).decode()


def _numbers(typecode: str, text: str, count: int) -> array[Any]:
    found = array(typecode, base64.b64decode(text, validate=True))
    if sys.byteorder == "big":
        found.byteswap()
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f"{count} numbers were expected, {len(found)} came, or some are none")
    return found


def _hour(at: float) -> int:
    return int(at // 3600.0) % HOURS
