"""Injected drift: what a sensor that changed makes of an input. Pure functions of arrays.

Inputs are `(channels, ...)` in the recorded units. `progress` runs from 0, no change, to 1, the full size.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from acclimate.simulation.scenario import DriftSection

Float = npt.NDArray[np.float32]
Distortion = Callable[[Float, float], Float]
"""(input, progress) to the input as it is recorded now."""


def distortion(drift: DriftSection, deviations: Float, rng: random.Random) -> Distortion:
    """The distortion of one device.

    Args:
        deviations: (channels,) how much each channel varies, for offsets.
        rng: for what differs between devices: which channels die, which way a sensor turns.
    """
    channels = len(deviations)
    if drift.kind == "scale":
        return lambda x, progress: scaled(x, 1.0 + (drift.size - 1.0) * progress)
    if drift.kind == "offset":
        signs = np.asarray([rng.choice((-1.0, 1.0)) for _ in range(channels)], np.float32)
        shift = signs * deviations * np.float32(drift.size)
        return lambda x, progress: shifted(x, shift * np.float32(progress))
    if drift.kind == "rotation":
        axis = unit_vector(rng)
        return lambda x, progress: turned(x, axis, math.radians(drift.size * progress))
    dead = sorted(rng.sample(range(channels), min(channels, max(1, round(drift.size)))))
    return lambda x, progress: silenced(x, dead) if progress > 0 else x


def scaled(x: Float, factor: float) -> Float:
    """Every channel times `factor`."""
    return x * np.float32(factor)


def shifted(x: Float, by: Float) -> Float:
    """Channel c plus `by[c]`."""
    return x + by.reshape((-1, *([1] * (x.ndim - 1))))


def turned(x: Float, axis: tuple[float, float, float], angle: float) -> Float:
    """Each three neighbouring channels as a vector, turned about `axis` by `angle` radians; channels that are
    left over stay (Rodrigues' formula)."""
    ux, uy, uz = axis
    cross = np.array([[0, -uz, uy], [uz, 0, -ux], [-uy, ux, 0]])
    matrix = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    result = x.copy()
    for first in range(0, len(x) - 2, 3):
        block = x[first : first + 3].reshape(3, -1)
        result[first : first + 3] = (matrix.astype(np.float32) @ block).reshape(x[first : first + 3].shape)
    return result


def silenced(x: Float, channels: list[int]) -> Float:
    """The given channels at 0."""
    result = x.copy()
    result[channels] = 0.0
    return result


def unit_vector(rng: random.Random) -> tuple[float, float, float]:
    """A direction, all equally likely."""
    x, y, z = (rng.gauss(0.0, 1.0) for _ in range(3))
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length
