"""The drift detection method: an error rate that rises above the best it has been (Gama et al. 2004)."""

from __future__ import annotations

import math


class DDM:
    """Finds a rising error rate in a stream of mistakes (1) and hits (0).

    Args:
        warm_start: values before anything is reported.
        fewest: mistakes before anything is reported: on a stream without any, the first one is no drift.
        warning_threshold, drift_threshold: how many standard deviations above the best rate.
    """

    def __init__(
        self,
        warm_start: int = 30,
        warning_threshold: float = 2.0,
        drift_threshold: float = 3.0,
        fewest: int = 8,
    ) -> None:
        self.warm_start, self.fewest = warm_start, fewest
        self.warning_threshold, self.drift_threshold = warning_threshold, drift_threshold
        self.reset()

    def reset(self) -> None:
        self.drift_detected = self.warning_detected = False
        self._count, self._rate, self._mistakes = 0, 0.0, 0.0
        self._best_rate = self._best_deviation = self._best_sum = math.inf

    def update(self, x: float) -> None:
        if self.drift_detected:
            self.reset()
        self._count += 1
        self._mistakes += x
        self._rate += (x - self._rate) / self._count
        if self._count <= self.warm_start or self._mistakes < self.fewest:
            return
        # rounding can put the rate a hair outside 0 to 1
        deviation = math.sqrt(max(self._rate * (1.0 - self._rate), 0.0) / self._count)
        now = self._rate + deviation
        if now <= self._best_sum:
            self._best_rate, self._best_deviation, self._best_sum = self._rate, deviation, now
        self.drift_detected = now > self._best_rate + self.drift_threshold * self._best_deviation
        self.warning_detected = (
            not self.drift_detected and now > self._best_rate + self.warning_threshold * self._best_deviation
        )
