"""A made family of tasks: three gestures, recorded by devices that are mounted each in their own way.

The bundle that `tiny_bundle` gives was meta-trained on it, so adapting to one device pays.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator

LABELS = ("circle", "shake", "tap")
CHANNELS = ("x", "y", "z")
SAMPLES = 8
_NOISE_G = 0.15

Window = list[list[float]]
"""(channels, samples) in g."""


class GestureDevice:
    """One device's stream.

    Args:
        seed: of its mounting and its noise.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.mount_anew()

    def mount_anew(self) -> None:
        """Turn the sensor: another order and sign of its axes, another gain."""
        self._order = self._rng.sample(range(3), 3)
        self._signs = [self._rng.choice((-1.0, 1.0)) for _ in CHANNELS]
        self._gain = self._rng.uniform(0.7, 1.3)

    def example(self, label: str | None = None) -> tuple[Window, str]:
        """One labelled window; of a random gesture unless one is given."""
        label = self._rng.choice(LABELS) if label is None else label
        own = [_wave(LABELS.index(label), axis) for axis in range(3)]
        turned = [
            [sign * self._gain * value + self._rng.gauss(0.0, _NOISE_G) for value in own[axis]]
            for axis, sign in zip(self._order, self._signs, strict=True)
        ]
        return turned, label

    def examples(self, number: int) -> Iterator[tuple[Window, str]]:
        return (self.example() for _ in range(number))


@functools.cache
def _wave(gesture: int, axis: int) -> list[float]:
    turns = [2.0 * math.pi * step / SAMPLES for step in range(SAMPLES)]
    if gesture == 0:
        return [math.cos(turn + axis * math.pi / 2) if axis < 2 else 0.2 for turn in turns]
    if gesture == 1:
        return [math.sin(2 * turn) if axis == 0 else 0.1 for turn in turns]
    return [(1.5 if step == 3 else 0.0) if axis == 2 else 0.1 for step in range(SAMPLES)]
