"""When things happen: a clock that is set by hand, and the list of what is due.

On a simulated clock each device has an agenda of its own, and time jumps from one entry to the next. On the
wall clock each thread has one for its devices, and waits.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count

Act = Callable[[], float | None]
"""Does something; returns in how many seconds to do it again, or None."""
START = 1_767_571_200.0
"""Monday, 2026-01-05, 00:00 UTC: where simulated time begins."""
_LOOK_S = 0.2


class SimulatedClock:
    """Unix seconds that only `Agenda.advance` moves."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Agenda:
    """What is due, soonest first; equal times in the order in which they were entered."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Act]] = []
        self._order = count()

    @property
    def due(self) -> float | None:
        """When the next is due; None where nothing is."""
        return self._entries[0][0] if self._entries else None

    def enter(self, due: float, act: Act) -> None:
        """Do `act` at `due`. Any thread may enter it: pushing holds the interpreter lock."""
        heapq.heappush(self._entries, (due, next(self._order), act))

    def advance(self, clock: SimulatedClock, until: float) -> None:
        """Do all that is due up to `until`, setting the clock to each entry's time."""
        while self._entries and self._entries[0][0] <= until:
            due, _, act = heapq.heappop(self._entries)
            clock.now = max(clock.now, due)
            self._do(clock.now, act)
        clock.now = until

    def work(self, stop: threading.Event) -> None:
        """Do all that is due by the wall clock until `stop` is set."""
        while not stop.is_set():
            wait = self._entries[0][0] - time.time() if self._entries else _LOOK_S
            if wait > 0:
                stop.wait(min(wait, _LOOK_S))
                continue
            _, _, act = heapq.heappop(self._entries)
            self._do(time.time(), act)

    def _do(self, now: float, act: Act) -> None:
        again = act()
        if again is not None:
            self.enter(now + again, act)
