"""Moments of a device's labelled examples, from which the fleet's head follows exactly.

With features phi `(n, d)` and targets y `(n, C)`, ridge regression needs Phi'Phi and Phi'Y alone, and both
add up over devices. A device gives their means over its own examples, so that one with many labels counts
like one with few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
LEAST_EXAMPLES = 8
"""Examples below which moments tell too much of each, see `docs/explanation/federated.md`."""


def moments(
    phi: NDArray[np.floating], targets: NDArray[np.floating], w: NDArray[np.floating] | None = None
) -> Vector:
    """Means of phi phi' and phi y', as one vector: the upper triangle by rows, then the products by rows.

    Args:
        phi: `(n, d)`.
        targets: `(n, C)`.
        w: `(n,)` how often an example counts; 0 pads. All count once if left out.

    Returns:
        `(moments_size(d, C),)`; zeros where no example counts.
    """
    weights = np.ones(len(phi)) if w is None else np.asarray(w, np.float64)
    wide, y = np.asarray(phi, np.float64), np.asarray(targets, np.float64)
    weighted = wide * (weights / max(float(weights.sum()), 1.0))[:, None]
    gram, products = weighted.T @ wide, weighted.T @ y
    return np.concatenate([gram[np.triu_indices(len(gram))], products.ravel()])


def moments_size(features: int, outputs: int) -> int:
    """Numbers in the moments of d features and C outputs."""
    return features * (features + 1) // 2 + features * outputs


def unpacked(vector: Vector, features: int, outputs: int) -> tuple[Vector, Vector]:
    """The means of phi phi' `(d, d)` and of phi y' `(d, C)` in what `moments` made.

    Raises:
        ValueError: its length is another.
    """
    if vector.shape != (moments_size(features, outputs),):
        raise ValueError(
            f"{vector.shape} numbers are no moments of {features} features and {outputs} outputs: "
            f"({moments_size(features, outputs)},) are"
        )
    upper = np.zeros((features, features))
    at = np.triu_indices(features)
    upper[at] = vector[: len(at[0])]
    return upper + np.triu(upper, 1).T, vector[len(at[0]) :].reshape(features, outputs)
