"""Losses and metrics for each example: the caller weights and averages them.

Every function takes outputs `(..., examples, outputs)` and targets, any leading axes (tasks) alike, and
returns `(..., examples)`. Class targets are int64 `(..., examples)`; real targets are `(..., examples,
outputs)`, where a forecast's horizon is flattened into the last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.errors import RecipeError
from acclimate.initialization import TaskKind

PerExample = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """What adaptation lowers, and the figure people read.

    Attributes:
        name: `cross_entropy`, `mse`, `mae` or `huber`.
        per_example: the loss of each example.
        metric_name: `accuracy` (higher is better) or `mse` / `mae` (lower is better).
        metric: the metric of each example.
    """

    name: str
    per_example: PerExample
    metric_name: str
    metric: PerExample

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.per_example(outputs, targets)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over the last axis, counting each value `weights` times; zero where all weights are zero."""
    total = weights.sum(-1)
    return (values * weights).sum(-1) / torch.where(total > 0, total, 1)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of the target class under softmax of the outputs."""
    return -torch.log_softmax(outputs, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error, averaged over the targets."""
    return (outputs - targets).square().mean(-1)


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Absolute error, averaged over the targets."""
    return (outputs - targets).abs().mean(-1)


def huber(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error up to 1, linear beyond (Huber 1964); in units of the normalized target."""
    error = (outputs - targets).abs()
    near = error.clamp(max=1)
    return (near * (error - near / 2)).mean(-1)


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """One where the largest output is the target class, else zero."""
    return (outputs.argmax(-1) == targets).to(outputs.dtype)


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", cross_entropy, "accuracy", accuracy),
        Loss("mse", squared_error, "mse", squared_error),
        Loss("mae", absolute_error, "mae", absolute_error),
        Loss("huber", huber, "mse", squared_error),
    )
}
DEFAULTS: dict[TaskKind, str] = {
    "classification": "cross_entropy",
    "regression": "mse",
    "forecasting": "mse",
    "anomaly": "mse",  # nothing is trained by it: what is normal is known in closed form
}


def loss_for(kind: TaskKind, name: str | None = None) -> Loss:
    """The loss `name` for tasks of `kind`; by default cross entropy for classes and squared error for reals.

    Raises:
        RecipeError: no such loss, or one that does not fit the kind.
    """
    chosen = name or DEFAULTS[kind]
    fitting = [each for each in LOSSES if (each == "cross_entropy") == (kind == "classification")]
    if chosen not in fitting:
        raise RecipeError(f"loss {chosen!r} does not fit {kind} tasks: use {' or '.join(fitting)}")
    return LOSSES[chosen]
