"""What a round of gradients asks of a device: adapt as ever, and say how that would move the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Params = Mapping[str, NDArray[np.floating]]
LEAST_BATCH = 18
"""Examples below which an update gives some of them back, see `docs/explanation/federated.md`."""
Kind = Literal["reptile", "first-order"]
Batch = TypeVar("Batch")


def client_update(
    step: Callable[[Params, Batch, int], Params],
    start: Params,
    support: Batch,
    query: Batch,
    *,
    steps: int,
    rate: float,
    kind: Kind,
) -> dict[str, NDArray[np.floating]]:
    """The direction against which the start should move, by parameter.

    `reptile` gives how far `steps` steps on the support went (Nichol et al. 2018,
    https://arxiv.org/abs/1803.02999). `first-order` takes one more step on the query half, whose length over
    the rate is the gradient of the query loss after adaptation: first-order MAML's meta-gradient (Finn et al.
    2017, https://arxiv.org/abs/1703.03400).

    Args:
        step: one gradient step at `rate`: parameters, a batch, and which step it is.
        start: of the release that the round is for.
    """
    moved = start
    for number in range(steps):
        moved = step(moved, support, number)
    if kind == "reptile":
        return {name: start[name] - moved[name] for name in start}
    further = step(moved, query, 0)
    return {name: (moved[name] - further[name]) / rate for name in start}


def clipped(vector: Vector, norm: float) -> tuple[Vector, float]:
    """The vector, shortened to `norm` where it is longer (L2), and how long it was."""
    length = float(np.linalg.norm(vector))
    return (vector * (norm / length) if length > norm else vector), length
