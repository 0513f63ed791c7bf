"""Time on a device: durations by a clock that only goes forward, dates as a note that may be wrong.

A gateway without a battery-backed clock boots in 1970 or years ahead, and is set right later, in one leap. So
nothing here waits for a date: what takes a minute takes a minute, whatever the wall clock says meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAP_S = 2.0
"""Less than this is a clock that is being slewed, or a tick that came late."""


class Clock:
    """The wall clock beside one that only goes forward.

    Args:
        wall: Unix seconds.
        steady: seconds that never go back; by default those since the machine started, time asleep included,
            or, where `wall` is given, that one without its steps backward.
    """

    def __init__(
        self, wall: Callable[[], float] | None = None, steady: Callable[[], float] | None = None
    ) -> None:
        self._wall = wall or time.time
        self._steady = steady or (_since_boot if wall is None else _Forward(wall))
        self._difference = self._wall() - self._steady()

    def now(self) -> float:
        """Unix seconds by the wall clock: for people, and for hours of the day."""
        return self._wall()

    def elapsed(self) -> float:
        """Seconds that only differences mean something of."""
        return self._steady()

    def leapt(self) -> float:
        """Seconds by which the wall clock was set since the last call; 0 unless it was."""
        difference = self._wall() - self._steady()
        leap = difference - self._difference
        if abs(leap) < _LEAP_S:
            return 0.0
        self._difference = difference
        return leap


class _Forward:
    """Seconds of a wall clock, without its steps backward."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall, self._last, self._total = wall, wall(), 0.0

    def __call__(self) -> float:
        now = self._wall()
        self._total += max(0.0, now - self._last)
        self._last = now
        return self._total


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
