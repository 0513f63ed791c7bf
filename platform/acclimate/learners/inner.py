"""Adaptation: gradient steps on the support, as pure functions on parameter dicts.

The same code adapts one task and a stack of tasks. On a stack, adapted parameters, examples and outputs
carry a leading task axis, and parameters that every task shares may leave it out: the losses are summed over
tasks, so each task's gradient is its own. A `Forward` decides how the stack is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from acclimate.learners.losses import PerExample, weighted_mean

Params = Mapping[str, Tensor]
Forward = Callable[[Params, Tensor], Tensor]
Batch = tuple[Tensor, Tensor, Tensor]
Rate = float | Tensor


def in_units(loss: PerExample, outputs: Tensor, targets: Tensor, units: Tensor | None) -> Tensor:
    """The loss of each example, of outputs and targets over `units`; None leaves them as they are."""
    return loss(outputs, targets) if units is None else loss(outputs / units, targets / units)


def inner_step(
    forward: Forward,
    loss: PerExample,
    params: Params,
    rates: Mapping[str, Rate],
    batch: Batch,
    *,
    second_order: bool = False,
    units: Tensor | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """One step `p - rate * dloss/dp` for every parameter named in `rates`; the others pass through.

    Args:
        rates: step size for each trainable parameter, broadcastable to it.
        second_order: keep the graph, so that the result can be differentiated through the gradient.
        units: what each output's error is counted in, see `learners.units`.

    Returns:
        The new parameters, and the loss before the step.
    """
    tracked = {
        name: tensor if name not in rates or tensor.requires_grad else tensor.detach().requires_grad_()
        for name, tensor in params.items()
    }
    with torch.enable_grad():
        x, y, w = batch
        value = weighted_mean(in_units(loss, forward(tracked, x), y, units), w)
        gradients = torch.autograd.grad(
            value.sum(), [tracked[name] for name in rates], create_graph=second_order, materialize_grads=True
        )
    moved = {
        name: tracked[name] - rate * gradient
        for (name, rate), gradient in zip(rates.items(), gradients, strict=True)
    }
    return {name: moved.get(name, tensor) for name, tensor in params.items()}, value


def rates_at(step: int, names: Sequence[str], inner_lr: float, learned: Params) -> dict[str, Rate]:
    """Step sizes of inner step `step`: learned ones where there are any, the last of them ever after."""
    return {
        name: learned[name][min(step, learned[name].shape[0] - 1)] if name in learned else inner_lr
        for name in names
    }
