"""A shift of the inputs, found without labels: block means of a few features against a reference.

Neighbouring windows of a sensor resemble each other, so single examples are no independent evidence. Means
over blocks of them nearly are: the reference is the first `reference` blocks, and the latest `recent` blocks
are compared with it feature by feature by Welch's t. The largest |t| is the distance that is reported.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence


class InputShift:
    """Finds inputs that no longer look like those the reference was made of.

    Args:
        block: examples averaged into one piece of evidence.
        reference: blocks that make the reference.
        recent: latest blocks that are compared with it.
        warning_threshold, drift_threshold: |t| of the most changed feature.
    """

    def __init__(
        self,
        block: int = 16,
        reference: int = 20,
        recent: int = 8,
        warning_threshold: float = 5.0,
        drift_threshold: float = 8.0,
    ) -> None:
        if block < 1 or reference < 2 or recent < 2:
            raise ValueError(
                f"block is {block}, reference {reference}, recent {recent}: use at least 1, 2 and 2"
            )
        self.block, self.reference, self.recent = block, reference, recent
        self.warning_threshold, self.drift_threshold = warning_threshold, drift_threshold
        self.reset()

    def reset(self) -> None:
        self.drift_detected = self.warning_detected = False
        self.distance = 0.0
        self._sums: list[float] = []
        self._in_block = 0
        self._reference: list[list[float]] = []
        self._expected: list[tuple[float, float]] = []
        self._recent: deque[list[float]] = deque(maxlen=self.recent)

    def update(self, x: float | Sequence[float]) -> None:
        """Take the features of the next example (one number, or always the same count of them)."""
        if self.drift_detected:
            self.reset()
        features = x if isinstance(x, Sequence) else (x,)
        if self._sums:
            self._sums = [total + value for total, value in zip(self._sums, features, strict=True)]
        else:
            self._sums = list(features)
        self._in_block += 1
        if self._in_block == self.block:
            self._end_block()

    def _end_block(self) -> None:
        means = [total / self.block for total in self._sums]
        self._sums, self._in_block = [], 0
        if len(self._reference) < self.reference:
            self._reference.append(means)
            if len(self._reference) == self.reference:
                self._expected = [_mean_and_variance(column) for column in zip(*self._reference, strict=True)]
            return
        self._recent.append(means)
        if len(self._recent) < self.recent:
            return
        self.distance = max(map(self._t, zip(*self._recent, strict=True), self._expected))
        self.drift_detected = self.distance > self.drift_threshold
        self.warning_detected = not self.drift_detected and self.distance > self.warning_threshold

    def _t(self, recent: tuple[float, ...], expected: tuple[float, float]) -> float:
        mean, variance = _mean_and_variance(recent)
        # a feature that stood still in the reference is compared with a millionth of its size, not with 0
        floor = (1e-6 * (abs(expected[0]) + 1e-6)) ** 2
        error = (variance + floor) / self.recent + (expected[1] + floor) / self.reference
        return abs(mean - expected[0]) / math.sqrt(error)


def _mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
