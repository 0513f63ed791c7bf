"""How long a shard takes, learned from its fellows, and so which are overdue."""

from __future__ import annotations

import statistics
from collections import deque

_KEPT = 64  # durations, the newest
_FACTOR = 2.0  # of the slower shards: work that takes longer is given to somebody else as well
_LEAST_S = 0.5  # nothing is overdue sooner: a busy machine pauses for that long by itself
_HUNG_FACTOR = 10.0
_HUNG_LEAST_S = 20.0
_FIRST_S = 600.0  # a worker's first shard opens the data and may compile


class Pace:
    """Durations of the shards of one phase.

    A shard that is overdue is computed elsewhere too; a worker that is hung is replaced. Neither changes a
    bit of the result: every worker computes the same, and the first answer counts.
    """

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        """A shard was done within `seconds` of its worker's time."""
        self._seconds.append(seconds)

    @property
    def usual(self) -> float | None:
        """Seconds that all but the slowest tenth take; None before the first is done."""
        if not self._seconds:
            return None
        if len(self._seconds) == 1:
            return self._seconds[0]
        return statistics.quantiles(self._seconds, n=10, method="inclusive")[-1]

    @property
    def overdue_after(self) -> float:
        """Seconds after which a shard is computed elsewhere as well."""
        return _FIRST_S if self.usual is None else max(_LEAST_S, _FACTOR * self.usual)

    def hung_after(self, answered: bool) -> float:
        """Seconds without an answer after which a worker is replaced.

        Args:
            answered: whether it ever did.
        """
        if not answered or self.usual is None:
            return _FIRST_S
        return max(_HUNG_LEAST_S, _HUNG_FACTOR * self.usual)
