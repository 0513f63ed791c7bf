"""A sketch of non-negative numbers: fixed size, mergeable, quantiles to 9 % of their value."""

from __future__ import annotations

import math

from acclimate_device.protocol import LIMITS, SKETCH_BASE, SKETCH_TOP, SKETCH_ZERO, Summary

_BUCKETS_PER_E = 1.0 / math.log(SKETCH_BASE)
_ZERO = SKETCH_BASE**SKETCH_ZERO
FEWEST = 8
"""Values that a summary of losses holds at least: the loss of one example, to seven digits, names the example
to whoever knows the parameters and the examples it may be."""


class Sketch:
    """Collects numbers; `summary()` is what travels."""

    def __init__(self) -> None:
        self.count, self.sum, self._squares, self._maximum = 0, 0.0, 0.0, 0.0
        self._buckets: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Take a number of at least 0; what the protocol cannot say counts as the most that it can."""
        value = min(LIMITS.number, value)  # in this order NaN is the most too: a diverged loss is told
        self.count += 1
        self.sum += value
        self._squares += value * value
        if value > self._maximum:
            self._maximum = value
        if value <= _ZERO:
            bucket = SKETCH_ZERO
        else:
            bucket = min(math.ceil(math.log(value) * _BUCKETS_PER_E), SKETCH_TOP)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def merge(self, other: Sketch) -> None:
        """Take all numbers of another sketch."""
        self.count += other.count
        self.sum += other.sum
        self._squares += other._squares
        self._maximum = max(self._maximum, other._maximum)
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count

    def summary(self) -> Summary:
        """All there is to tell: for numbers that say nothing of an example, such as times."""
        if not self.count:
            return Summary()
        total = min(self.sum, LIMITS.number)
        squares = min(self._squares, LIMITS.number**2)
        return Summary(
            self.count,
            _short(total),
            _short(squares),
            _short(self._maximum),
            tuple(sorted(self._buckets.items())),
        )

    def veiled_summary(self) -> Summary:
        """What may leave of numbers that each come from an example: nothing of fewer than `FEWEST`.

        Sums have two digits, and the maximum is the edge of its bucket: it tells no more than the sketch.
        """
        if self.count < FEWEST:
            return Summary()
        edge = max(self._buckets)
        maximum = 0.0 if edge == SKETCH_ZERO else _short(SKETCH_BASE**edge)
        sums = (
            _short(min(self.sum, LIMITS.number), 2),
            _short(min(self._squares, LIMITS.number**2), 2),
        )
        return Summary(self.count, *sums, maximum, tuple(sorted(self._buckets.items())))


def quantile(summary: Summary, share: float) -> float:
    """The value that `share` of the numbers do not exceed; NaN of nothing."""
    rank, seen = share * (summary.count - 1), 0
    for bucket, count in summary.sketch:
        seen += count
        if seen > rank:
            # the middle of the bucket in the sense of relative error
            middle = 2.0 * SKETCH_BASE**bucket / (SKETCH_BASE + 1.0)
            return 0.0 if bucket == SKETCH_ZERO else min(middle, summary.maximum)
    return math.nan


def _short(value: float, digits: int = 7) -> float:
    """Seven digits are as many as the float32 it comes from holds: a report is small."""
    return float(f"{value:.{digits}g}")
