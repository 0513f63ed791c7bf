"""A learner: one way to learn a start, behind a few pure functions.

The outer loop holds the meta-parameters, a flat dict with `param.<name>` for the network, `rate.<name>` for
learned rates and `prior.<name>` for the priors of closed-form heads. It asks shards of tasks for
meta-gradients, adds them up along one tree, and applies its optimizer. Episodes are stacked on a leading task
axis: x `(tasks, examples, *input)`, y `(tasks, examples[, targets])` and weights w `(tasks, examples)`, where
zero pads. With one torch thread, equal arguments give equal bits in every process of the same `backend`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from acclimate.learners.backend import Backend, choose_backend
from acclimate.learners.closed_form import build_closed_form
from acclimate.learners.config import LearnerConfig
from acclimate.learners.gradients import Compiled, GradientFunction, gradient_function, under
from acclimate.learners.inner import Batch, Params
from acclimate.learners.losses import Loss
from acclimate.learners.objectives import Inner, adapted
from acclimate.learners.stacked import adapts_head_only, part_forward, stacked_forward
from acclimate.learners.trainable import trainable_names
from acclimate.learners.units import stacked_units

MetaParams = dict[str, Tensor]
Metrics = dict[str, Tensor]


class Learner(Protocol):
    """What every learner does; see the module."""

    @property
    def config(self) -> LearnerConfig: ...

    @property
    def model(self) -> nn.Module: ...

    @property
    def backend(self) -> Backend: ...

    @property
    def loss(self) -> Loss: ...

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that gradient steps move; none for a closed form."""

    @property
    def draws(self) -> bool:
        """Whether a meta-gradient may follow torch's generator and the model's mode."""

    def init(self, params: Params) -> MetaParams:
        """Meta-parameters that start at `params`."""

    def meta_gradient(
        self, meta: Params, support: Batch, query: Batch, step: int
    ) -> tuple[MetaParams, Metrics]:
        """The meta-gradient SUMMED over the tasks of this shard, and the shard's figures.

        Args:
            step: the outer step, from 0; maml++ weights its losses by it.

        Returns:
            A gradient for every meta-parameter, and the figures `loss` and the metric, both after adaptation
            and summed over tasks, and `tasks`, their number.
        """

    def adapt(self, meta: Params, support: Batch, steps: int) -> list[dict[str, Tensor]]:
        """Every task of the stack along its adaptation, each for `predict`: first the start, last the most
        adapted. Gradient steps give `steps` entries more, a closed form one."""

    def predict(self, params: Params, x: Tensor) -> Tensor:
        """Outputs `(tasks, examples, outputs)` for x `(tasks, examples, *input)`, parameters from `adapt`."""


@dataclass(frozen=True)
class GradientLearner:
    """Adaptation by gradient steps; made by `build_learner`."""

    config: LearnerConfig
    model: nn.Module
    backend: Backend
    inner: Inner
    gradient: GradientFunction

    @property
    def loss(self) -> Loss:
        return self.inner.loss

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that adaptation moves."""
        return self.inner.trainable

    @property
    def draws(self) -> bool:
        """Not once it is compiled to a graph that draws nothing."""
        return not isinstance(self.gradient, Compiled) or self.gradient.draws

    def init(self, params: Params) -> MetaParams:
        """With every learned rate at `inner_lr`."""
        return {f"param.{name}": tensor.detach().clone() for name, tensor in params.items()} | {
            f"rate.{name}": tensor.new_full(self._rate_shape(tensor), self.config.inner_lr)
            for name, tensor in params.items()
            if name in self.trainable and self.config.algorithm in ("meta-sgd", "maml++")
        }

    def meta_gradient(
        self, meta: Params, support: Batch, query: Batch, step: int
    ) -> tuple[MetaParams, Metrics]:
        # Cloned, because the alignment of a caller's memory can steer a kernel's order of summation.
        owned = {name: tensor.detach().clone() for name, tensor in meta.items()}
        return self.gradient(owned, support, query, self._importance(step))

    def adapt(self, meta: Params, support: Batch, steps: int) -> list[dict[str, Tensor]]:
        """Parameters after 0, 1, ..., `steps` steps.

        Parameters that adaptation moves carry a leading task axis; the others stay shared. Steps beyond the
        learned rates go on at the last of them.
        """
        return adapted(self.inner, under(meta, "param."), under(meta, "rate."), support, steps)

    def predict(self, params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.inner.forward(params, x)

    def _rate_shape(self, tensor: Tensor) -> tuple[int, ...]:
        if self.config.algorithm == "meta-sgd":
            return (1, *tensor.shape)
        return (self.config.inner_steps, *(1 for _ in tensor.shape))

    def _importance(self, step: int) -> Tensor | None:
        """Weight of the query loss after each inner step, adding up to one; None: the last step's alone."""
        steps = self.config.inner_steps
        if self.config.algorithm != "maml++" or step >= self.config.multi_step:
            return None
        progress = step / self.config.multi_step
        weights = torch.full((steps,), (1 - progress) / steps, dtype=torch.float64)
        weights[-1] += progress
        return weights


def build_learner(
    config: LearnerConfig, model: nn.Module, loss: Loss, *, outer_steps: int | None = None
) -> Learner:
    """The learner that `config` describes, for `model` and `loss`.

    Args:
        outer_steps: length of the run, by which `compile: auto` tells whether compiling comes back.

    Raises:
        ModelError: the model lacks what `config.trainable` names, or `compile` is `on` without a compiler.
    """
    if config.algorithm == "closed-form":
        return build_closed_form(config, model, loss)
    trainable = "head" if config.algorithm == "anil" else config.trainable
    backend = choose_backend(config, model, outer_steps)
    names = trainable_names(model, trainable)
    split = None
    if adapts_head_only(model, names):
        split = part_forward(model, "body"), part_forward(model, "head")
    inner = Inner(
        forward=stacked_forward(model),
        split=split,
        loss=loss,
        trainable=names,
        inner_lr=config.inner_lr,
        steps=config.inner_steps,
        second_order=not config.first_order,
        units=stacked_units(model),
    )
    gradient = gradient_function(config, inner)
    if backend.name == "compiled":
        gradient = Compiled(gradient, model)
    return GradientLearner(config, model, backend, inner, gradient)
