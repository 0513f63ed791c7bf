"""What a round of gradients asks of a device: adapt as ever, and say how that would move the start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Params = Mapping[str, NDArray[np.floating]]
LEAST_BATCH = 18
"""Examples below which an update gives some of them back, see `docs/explanation/federated.md`."""


def client_update(start: Params, adapted: Params) -> dict[str, NDArray[np.floating]]:
    """The direction against which the start should move, by parameter of `start`.

    How far adapting went, from a release's start and nothing else (Reptile, Nichol et al. 2018,
    https://arxiv.org/abs/1803.02999).
    """
    return {name: tensor - adapted[name] for name, tensor in start.items()}


def clipped(vector: Vector, norm: float) -> tuple[Vector, float]:
    """The vector, shortened to `norm` where it is longer (L2), and how long it was."""
    length = float(np.linalg.norm(vector))
    return (vector * (norm / length) if length > norm else vector), length
