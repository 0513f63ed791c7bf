"""What windows without labels tell of a device's class means: one pass, saturating, guarded.

A window counts for each class as much as the start believes that it is of it, and the start never moves:
nothing that is learnt feeds back. All windows of a class together count for half a label of
it at most, so a stream that holds few classes moves little. Windows of one class do not tell how a device
differs from the fleet, for another class is as good a reason; with too few classes nothing is used. Pure
functions over numpy arrays: C classes, r dimensions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

_MOST = np.float32(0.5)  # labels of a class that all its windows are worth
_LEAST_CLASSES, _LEAST_SHARE = 2.0, 1 / 3  # seen, of all


def counted(number: Float, total: Float, chances: Float, z: Float) -> tuple[Float, Float]:
    """Windows seen of each class (C,) and the sum of what they were (C, r), after one more.

    Args:
        chances: of each class by the start, (C,).
        z: what class means read of the window, (r,).
    """
    return number + chances, total + chances[:, None] * z


def informed(mean: Float, cov: Float, number: Float, total: Float) -> tuple[Float, Float]:
    """Class means (C, r) and their covariance (C, C) given the windows; as they are with too few classes."""
    if not tells(number):
        return mean, cov
    worth = number / (1 + number / _MOST)
    seen = total * (worth / np.maximum(number, np.float32(1e-12)))[:, None]
    root = np.sqrt(worth)
    known = cov * root
    inner = np.eye(len(cov), dtype=cov.dtype) + root[:, None] * known
    after = cov - known @ np.linalg.solve(inner, known.T)
    moved = mean + after @ (seen - worth[:, None] * mean)
    return moved.astype(np.float32), after.astype(np.float32)


def tells(number: Float) -> bool:
    """Whether windows of enough classes were seen: the exponential of the entropy of their shares."""
    shares = number / max(float(number.sum()), 1e-12)
    classes = math.exp(-float((shares * np.log(np.maximum(shares, np.float32(1e-12)))).sum()))
    return classes >= max(_LEAST_CLASSES, _LEAST_SHARE * len(number))
