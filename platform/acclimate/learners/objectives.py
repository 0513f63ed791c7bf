"""What each learner minimises, summed over a stack of tasks.

An objective is a pure function of the meta-parameters and the episodes. MAML's family is differentiable, so
its meta-gradient is the derivative of the objective; Reptile gives its meta-gradient directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.learners.inner import Batch, Forward, Params, in_units, inner_step, rates_at
from acclimate.learners.losses import Loss, weighted_mean


@dataclass(frozen=True)
class Inner:
    """How tasks adapt: the network on a stack of tasks, what is lowered, what moves, how fast, how often.

    Attributes:
        split: the forward pass as (features, head) when only the head adapts, so that features, which no
            inner step changes, are computed once.
        units: what errors are counted in, where the network tells it.
    """

    forward: Forward
    split: tuple[Forward, Forward] | None
    loss: Loss
    trainable: tuple[str, ...]
    inner_lr: float
    steps: int
    second_order: bool
    units: Forward | None

    def units_at(self, params: Params, x: Tensor) -> Tensor | None:
        """What errors of the outputs for `x` are counted in; None: as they are."""
        return None if self.units is None else self.units(params, x)


def per_task(params: Params, trainable: Sequence[str], tasks: int) -> dict[str, Tensor]:
    """Give every trainable parameter a task axis; the rest stay shared."""
    return {
        name: tensor.expand(tasks, *tensor.shape) if name in trainable else tensor
        for name, tensor in params.items()
    }


def adapted_query(
    inner: Inner,
    params: Params,
    rates: Params,
    support: Batch,
    query: Batch,
    importance: Tensor | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """MAML's objective: the query loss after adaptation to the support, summed over tasks.

    Args:
        importance: weight of the query loss after each inner step (the multi-step loss of MAML++, section 4
            of https://arxiv.org/abs/1810.09502); the plain objective has the last alone.
    """
    forward = inner.forward
    units = [inner.units_at(params, half[0]) for half in (support, query)]
    if inner.split:
        features, forward = inner.split
        support, query = (
            (features(params, support[0]), *support[1:]),
            (features(params, query[0]), *query[1:]),
        )
    fast = per_task(params, inner.trainable, support[0].shape[0])
    losses: list[Tensor] = []
    outputs = query[0]
    for step in range(inner.steps):
        step_rates = rates_at(step, inner.trainable, inner.inner_lr, rates)
        fast, _ = inner_step(
            forward,
            inner.loss,
            fast,
            step_rates,
            support,
            second_order=inner.second_order,
            units=units[0],
        )
        if importance is not None or step == inner.steps - 1:
            outputs = forward(fast, query[0])
            losses.append(weighted_mean(in_units(inner.loss, outputs, query[1], units[1]), query[2]).sum())
    total = losses[-1] if importance is None else (torch.stack(losses) * importance.to(losses[0])).sum()
    return total, figures(inner.loss, outputs, query, units[1])


def pooled(inner: Inner, params: Params, support: Batch, query: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Joint training's objective: the loss without adaptation, every example of a task counted alike."""
    batch = together(support, query)
    outputs, units = inner.forward(params, batch[0]), inner.units_at(params, batch[0])
    losses = in_units(inner.loss, outputs, batch[1], units)
    return weighted_mean(losses, batch[2]).sum(), figures(inner.loss, outputs, batch, units)


def adapted(
    inner: Inner, params: Params, rates: Params, support: Batch, steps: int
) -> list[dict[str, Tensor]]:
    """Parameters of every task after 0, 1, ..., `steps` steps on its support, without history."""
    fast = per_task(detached(params), inner.trainable, support[0].shape[0])
    trajectory, units = [fast], inner.units_at(detached(params), support[0])
    for step in range(steps):
        step_rates = rates_at(step, inner.trainable, inner.inner_lr, detached(rates))
        moved, _ = inner_step(inner.forward, inner.loss, fast, step_rates, support, units=units)
        fast = detached(moved)
        trajectory.append(fast)
    return trajectory


def reptile(
    inner: Inner, params: Params, support: Batch, query: Batch
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Reptile's meta-gradient, batched: `start - adapted` summed over tasks
    (https://arxiv.org/abs/1803.02999).

    Reptile has no held-out half: it adapts to support and query together.
    """
    batch = together(support, query)
    fast = adapted(inner, params, {}, batch, inner.steps)[-1]
    gradient = {
        name: (tensor.detach() - fast[name]).sum(0) if name in inner.trainable else torch.zeros_like(tensor)
        for name, tensor in params.items()
    }
    with torch.no_grad():
        units = inner.units_at(detached(params), batch[0])
        return gradient, figures(inner.loss, inner.forward(fast, batch[0]), batch, units)


def serial_reptile(
    inner: Inner, params: Params, support: Batch, query: Batch, rate: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Reptile's meta-gradient, serial: each task moves the start by `rate` before the next one adapts from
    it.

    The sum of the tasks' own differences, so that an outer SGD step of size `rate` is Reptile one task at a
    time.
    """
    now = detached(params)
    gradients: list[dict[str, Tensor]] = []
    totals: list[dict[str, Tensor]] = []
    for task in range(support[0].shape[0]):
        one = slice(task, task + 1)
        gradient, seen = reptile(inner, now, tasks_of(support, one), tasks_of(query, one))
        now = {name: tensor - rate * gradient[name] for name, tensor in now.items()}
        gradients.append(gradient)
        totals.append(seen)
    return added(gradients), added(totals)


def figures(loss: Loss, outputs: Tensor, batch: Batch, units: Tensor | None = None) -> dict[str, Tensor]:
    """Loss and metric summed over tasks, and the number of tasks, to be divided by it at the end."""
    with torch.no_grad():
        kept = outputs.detach()
        mean_loss = weighted_mean(in_units(loss, kept, batch[1], units), batch[2])
        metric = weighted_mean(loss.metric(kept, batch[1]), batch[2])
        return {
            "loss": mean_loss.sum(),
            loss.metric_name: metric.sum(),
            "tasks": torch.ones_like(metric).sum(),
        }


def tasks_of(batch: Batch, which: slice) -> Batch:
    """The episodes of some tasks of the stack."""
    x, y, w = batch
    return x[which], y[which], w[which]


def together(support: Batch, query: Batch) -> Batch:
    """Support and query of each task as one batch."""
    x, y, w = (torch.cat(pair, 1) for pair in zip(support, query, strict=True))
    return x, y, w


def detached(params: Params) -> dict[str, Tensor]:
    """The same values, without history."""
    return {name: tensor.detach() for name, tensor in params.items()}


def added(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Sum dicts of tensors in their order, which fixes the rounding."""
    total = dict(parts[0])
    for part in parts[1:]:
        total = {name: total[name] + tensor for name, tensor in part.items()}
    return total
