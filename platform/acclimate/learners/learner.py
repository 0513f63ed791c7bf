"""A learner: one way to learn a start, behind four pure functions.

The outer loop holds the meta-parameters, a flat dict with `param.<name>` for the network and `rate.<name>`
for learned rates. It asks shards of tasks for meta-gradients, adds them up in shard order, and applies its
optimizer. Episodes are stacked on a leading task axis: x `(tasks, examples, *input)`, y `(tasks, examples[,
targets])` and weights w `(tasks, examples)`, where zero pads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acclimate.learners.config import LearnerConfig
from acclimate.learners.inner import Batch, Params, inner_step, rates_at
from acclimate.learners.losses import Loss
from acclimate.learners.objectives import (
    Inner,
    adapted_query,
    detached,
    figures,
    per_task,
    pooled,
    reptile,
    serial_reptile,
)
from acclimate.learners.stacked import stacked_forward
from acclimate.learners.trainable import trainable_names

MetaParams = dict[str, Tensor]
Metrics = dict[str, Tensor]


@dataclass(frozen=True)
class Learner:
    """See the module; made by `build_learner`."""

    config: LearnerConfig
    inner: Inner

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that adaptation moves."""
        return self.inner.trainable

    def init(self, params: Params) -> MetaParams:
        """Meta-parameters that start at `params`, with every learned rate at `inner_lr`."""
        return {f"param.{name}": tensor.detach().clone() for name, tensor in params.items()} | {
            f"rate.{name}": tensor.new_full(self._rate_shape(tensor), self.config.inner_lr)
            for name, tensor in params.items()
            if name in self.trainable and self.config.algorithm in ("meta-sgd", "maml++")
        }

    def split(self, meta: Params) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(parameters, learned rates `(steps or 1, *broadcastable)`), as an `Initialization` keeps them."""
        return _under(meta, "param."), _under(meta, "rate.")

    def meta_gradient(
        self, meta: Params, support: Batch, query: Batch, step: int
    ) -> tuple[MetaParams, Metrics]:
        """The meta-gradient SUMMED over the tasks of this shard, and the shard's figures.

        Args:
            step: the outer step, from 0; maml++ weights its losses by it.

        Returns:
            A gradient for every meta-parameter, and `loss`, the metric, both after adaptation and summed over
            tasks, and `tasks`, their number.
        """
        params, rates = self.split(meta)
        algorithm = self.config.algorithm
        if algorithm == "reptile":
            gradient, metrics = (
                serial_reptile(self.inner, params, support, query, self.config.serial_rate)
                if self.config.serial
                else reptile(self.inner, params, support, query)
            )
            return {f"param.{name}": tensor for name, tensor in gradient.items()}, metrics
        if algorithm == "device-only":
            after = self.adapt(meta, support, self.config.inner_steps)[-1]
            seen = figures(self.inner.loss, self.predict(after, query[0]), query)
            return {name: torch.zeros_like(tensor) for name, tensor in meta.items()}, seen
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in meta.items()}
        params, rates = self.split(leaves)
        with torch.enable_grad():
            total, metrics = (
                pooled(self.inner, params, support, query)
                if algorithm == "joint"
                else adapted_query(self.inner, params, rates, support, query, self._importance(step))
            )
            gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, gradients, strict=True)), metrics

    def adapt(self, meta: Params, support: Batch, steps: int) -> list[dict[str, Tensor]]:
        """Adapt every task of the stack: parameters after 0, 1, ..., `steps` steps, each for `predict`.

        Parameters that adaptation moves carry a leading task axis; the others stay shared. Steps beyond the
        learned rates go on at the last of them.
        """
        params, rates = (detached(part) for part in self.split(meta))
        fast = per_task(params, self.trainable, support[0].shape[0])
        trajectory = [fast]
        for step in range(steps):
            step_rates = rates_at(step, self.trainable, self.config.inner_lr, rates)
            fast, _ = inner_step(self.inner.forward, self.inner.loss, fast, step_rates, support)
            fast = detached(fast)
            trajectory.append(fast)
        return trajectory

    def predict(self, params: Params, x: Tensor) -> Tensor:
        """Outputs `(tasks, examples, outputs)` for x `(tasks, examples, *input)`, parameters from `adapt`."""
        with torch.no_grad():
            return self.inner.forward(params, x)

    def _rate_shape(self, tensor: Tensor) -> tuple[int, ...]:
        if self.config.algorithm == "meta-sgd":
            return (1, *tensor.shape)
        return (self.config.inner_steps, *(1 for _ in tensor.shape))

    def _importance(self, step: int) -> list[float]:
        """Weight of the query loss after each inner step at outer step `step`; they add up to one."""
        steps = self.config.inner_steps
        last_only = [0.0] * (steps - 1) + [1.0]
        if self.config.algorithm != "maml++" or step >= self.config.multi_step:
            return last_only
        progress = step / self.config.multi_step
        return [(1 - progress) / steps + progress * final for final in last_only]


def build_learner(config: LearnerConfig, model: nn.Module, loss: Loss) -> Learner:
    """The learner that `config` describes, for `model` and `loss`.

    Raises:
        ModelError: the model lacks what `config.trainable` names.
    """
    trainable = "head" if config.algorithm == "anil" else config.trainable
    return Learner(
        config=config,
        inner=Inner(
            model=model,
            forward=stacked_forward(model),
            loss=loss,
            trainable=trainable_names(model, trainable),
            inner_lr=config.inner_lr,
            steps=config.inner_steps,
            second_order=not config.first_order,
        ),
    )


def _under(meta: Params, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in meta.items() if name.startswith(prefix)}
