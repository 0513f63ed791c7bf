"""First-order MAML's meta-gradient by steps alone: what devices with two batches of examples could send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acclimate_device.federated import client_update

Step = Callable[[Any, Any, int], Any]


def first_order(step: Step, start: Any, support: Any, query: Any, *, steps: int, rate: float) -> Any:
    """One more step on the query half, over the rate, is the query loss's gradient after adaptation.

    Finn et al. 2017, https://arxiv.org/abs/1703.03400.

    Args:
        step: one gradient step at `rate`: parameters, a batch, and which step it is.
    """
    moved = start
    for number in range(steps):
        moved = step(moved, support, number)
    return {name: part / rate for name, part in client_update(moved, step(moved, query, 0)).items()}
