"""ADWIN: a window that grows while its mean holds still and drops its old part when it does not.

The window is kept as an exponential histogram: row r holds up to `max_buckets` buckets of 2^r values each, so
memory and time are logarithmic in the window's width (Bifet and Gavaldà 2007).
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

Bucket = tuple[float, float]
"""Sum and sum of squared deviations of the values in it."""


class ADWIN:
    """Finds a change of the mean, and forgets what came before it.

    Args:
        delta: chance of a false alarm that is accepted at each check.
        clock: values between two checks.
        max_buckets: buckets of one size; more keep finer cuts and take more memory.
        min_window_length: values a part needs to be compared.
        grace_period: values before the first check.
        warning_delta: the looser `delta` of a warning.
        mode: report any change (`both`), or only a rising mean (`up`): a loss that falls is no drift, its old
            part is forgotten in silence.
    """

    def __init__(
        self,
        delta: float = 0.002,
        clock: int = 32,
        max_buckets: int = 5,
        min_window_length: int = 5,
        grace_period: int = 10,
        warning_delta: float = 0.02,
        mode: Literal["both", "up"] = "both",
    ) -> None:
        if mode not in ("both", "up"):
            raise ValueError(f"mode is {mode!r}: use 'both' or 'up'")
        self.delta, self.clock, self.max_buckets = delta, clock, max_buckets
        self.min_window_length, self.grace_period = min_window_length, grace_period
        self.warning_delta, self.mode = warning_delta, mode
        self.reset()

    def reset(self) -> None:
        self.drift_detected = self.warning_detected = False
        self.width, self.total, self._squares, self._ticks = 0, 0.0, 0.0, 0
        self._rows: list[deque[Bucket]] = [deque()]  # row r: buckets of 2^r values, oldest first

    @property
    def estimation(self) -> float:
        """Mean of the window; 0 while it is empty."""
        return self.total / self.width if self.width else 0.0

    @property
    def variance(self) -> float:
        """Variance of the window; 0 while it is empty."""
        return self._squares / self.width if self.width else 0.0

    def update(self, x: float) -> None:
        if self.drift_detected:
            self.reset()
        if self.width:
            self._squares += self.width * (x - self.total / self.width) ** 2 / (self.width + 1)
        self.width += 1
        self.total += x
        self._rows[0].append((x, 0.0))
        if len(self._rows[0]) > self.max_buckets:
            self._merge()
        self._ticks += 1
        if self._ticks % self.clock == 0 and self.width > self.grace_period:
            self._check()

    def _merge(self) -> None:
        """Turn the two oldest buckets of a full row into one of the next row."""
        for row, buckets in enumerate(self._rows):
            if len(buckets) <= self.max_buckets:
                return
            if row + 1 == len(self._rows):
                self._rows.append(deque())
            size = 1 << row
            (total, squares), (next_total, next_squares) = buckets.popleft(), buckets.popleft()
            between = (total - next_total) ** 2 / (2 * size)
            self._rows[row + 1].append((total + next_total, squares + next_squares + between))

    def _check(self) -> None:
        before = self.estimation
        changed = False
        while self._differs(self.delta):
            changed = True
            self._drop_oldest()
        self.drift_detected = changed and (self.mode == "both" or self.estimation > before)
        self.warning_detected = not changed and self._differs(self.warning_delta)

    def _differs(self, delta: float) -> bool:
        """Whether some cut leaves two parts whose means differ by more than chance allows.

        In mode `up` with the delta of a warning, only a rising mean counts.
        """
        if self.width < 2 * self.min_window_length:
            return False
        rising_only = self.mode == "up" and delta != self.delta
        confidence = math.log(2.0 * math.log(self.width) / delta)
        spread, bias = 2.0 * self.variance * confidence, 2.0 / 3.0 * confidence
        shortest = self.min_window_length
        old_count, old_total = 0, 0.0
        for row in range(len(self._rows) - 1, -1, -1):
            size = 1 << row
            for total, _ in self._rows[row]:
                old_count += size
                old_total += total
                new_count = self.width - old_count
                if new_count < shortest:
                    return False
                if old_count < shortest:
                    continue
                gap = (self.total - old_total) / new_count - old_total / old_count
                if gap < 0.0:
                    if rising_only:
                        continue
                    gap = -gap
                inverse = 1.0 / (old_count - shortest + 1) + 1.0 / (new_count - shortest + 1)
                if gap > math.sqrt(spread * inverse) + bias * inverse:
                    return True
        return False

    def _drop_oldest(self) -> None:
        size = 1 << (len(self._rows) - 1)
        total, squares = self._rows[-1].popleft()
        self.width -= size
        self.total -= total
        if self.width:
            gap = total / size - self.total / self.width
            self._squares -= squares + size * self.width * gap * gap / (size + self.width)
            self._squares = max(self._squares, 0.0)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()
