"""The Page-Hinkley test: a cumulative sum of deviations from the running mean (Page 1954)."""

from __future__ import annotations

from typing import Literal


class PageHinkley:
    """Finds a change of the mean.

    Args:
        min_instances: values before anything is reported.
        delta: size of a change that is tolerated, in units of the stream.
        threshold: cumulative deviation that is drift.
        alpha: forgetting factor of the cumulative sums.
        mode: report a rising mean (`up`), a falling one (`down`), or `both`.
        warning_share: share of `threshold` that is a warning; 1 never warns.
    """

    def __init__(
        self,
        min_instances: int = 30,
        delta: float = 0.005,
        threshold: float = 50.0,
        alpha: float = 1 - 0.0001,
        mode: Literal["up", "down", "both"] = "both",
        warning_share: float = 0.5,
    ) -> None:
        if mode not in ("up", "down", "both"):
            raise ValueError(f"mode is {mode!r}: use 'up', 'down' or 'both'")
        self.min_instances, self.delta, self.threshold = min_instances, delta, threshold
        self.alpha, self.mode, self.warning_share = alpha, mode, warning_share
        self.reset()

    def reset(self) -> None:
        self.drift_detected = self.warning_detected = False
        self._count, self._mean = 0, 0.0
        self._rise, self._lowest_rise = 0.0, float("inf")
        self._fall, self._highest_fall = 0.0, -1.0

    def update(self, x: float) -> None:
        if self.drift_detected:
            self.reset()
        self._count += 1
        self._mean += (x - self._mean) / self._count
        deviation = x - self._mean
        self._rise = self.alpha * self._rise + deviation - self.delta
        self._fall = self.alpha * self._fall + deviation + self.delta
        if self._rise < self._lowest_rise:
            self._lowest_rise = self._rise
        if self._fall > self._highest_fall:
            self._highest_fall = self._fall
        if self._count < self.min_instances:
            return
        change = 0.0
        if self.mode != "down":
            change = self._rise - self._lowest_rise
        if self.mode != "up":
            change = max(change, self._highest_fall - self._fall)
        self.drift_detected = change > self.threshold
        self.warning_detected = not self.drift_detected and change > self.threshold * self.warning_share
