"""The learner `closed-form`: a device solves its head exactly, from the fleet's answer.

Meta-parameters are the body's weights, the head's (the last layer's prior mean) and the heads' priors,
`prior.<name>` of `heads`. Adaptation has neither a rate nor a number of steps: its trajectory is the start
and the posterior. The meta-gradient is the derivative of the query loss after adaptation to the support, in
which training varies the number of shots, none among them, so that one start serves every number of labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.learners.backend import Backend, choose_backend
from acclimate.learners.config import LearnerConfig
from acclimate.learners.gradients import Summed, under
from acclimate.learners.headless import headless
from acclimate.learners.heads import CHOICES, Heads
from acclimate.learners.inner import Batch, Forward, Params
from acclimate.learners.losses import Loss, weighted_mean
from acclimate.learners.moments import class_mean_prior
from acclimate.learners.objectives import detached, figures
from acclimate.learners.stacked import stacked_forward


@dataclass(frozen=True)
class ClosedFormLearner:
    """See the module; made by `build_learner`.

    Attributes:
        heads: which heads are solved.
        head: name of the network's linear layer, whose weights are the last layer's prior mean.
        body: the network without it, on a stack of tasks that share its parameters.
    """

    config: LearnerConfig
    model: nn.Module
    backend: Backend
    loss: Loss
    heads: Heads
    head: str
    body: Forward

    @property
    def trainable(self) -> tuple[str, ...]:
        return ()

    @property
    def draws(self) -> bool:
        return True

    def init(self, params: Params) -> dict[str, Tensor]:
        """Meta-parameters that start at the body of `params`, with a prior that knows nothing of a fleet.

        Real targets keep the network's head as their prior mean; classes begin at zero.
        """
        weight = params[f"{self.head}.weight"]
        meta = {f"param.{name}": tensor.detach().clone() for name, tensor in params.items()}
        if self.heads.classes:
            meta |= {name: torch.zeros_like(meta[name]) for name in self._of_head(meta)}
        prior = self.heads.prior(weight.shape[1])
        return meta | {f"prior.{name}": tensor.to(weight) for name, tensor in prior.items()}

    def warm(self, params: Params, examples: Batch) -> dict[str, Tensor]:
        """Meta-parameters that start at a trained network, with a prior from moments of the training tasks.

        Args:
            params: of the joint model.
            examples: many of every training task.
        """
        meta = self.init(params)
        if "means" in self.heads.names:
            x, y, w = examples
            with torch.no_grad():
                moments = class_mean_prior(self.features(meta, x), y, w, self.heads.outputs)
            meta |= {f"prior.means.{name}": tensor for name, tensor in moments.items()}
        return meta

    def meta_gradient(
        self, meta: Params, support: Batch, query: Batch, step: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The derivative of the query loss after adaptation, summed over tasks; see `Learner`."""
        # Cloned, because the alignment of a caller's memory can steer a kernel's order of summation.
        owned = {name: tensor.detach().clone() for name, tensor in meta.items()}
        return self._of_stack(owned, support, query, None)

    def adapt(self, meta: Params, support: Batch, steps: int = 1) -> list[dict[str, Tensor]]:
        """Every task before and after its support, each for `predict`; `steps` means nothing here.

        Entries are those of `meta`, which tasks share, and `state.<name>` of each task.
        """
        with torch.no_grad():
            start = self.start(meta)
            after = self._solved(meta, start, support)
        tasks = support[0].shape[0]
        before = {name: tensor.expand(tasks, *tensor.shape) for name, tensor in start.items()}
        return [
            detached(meta) | {f"state.{name}": tensor for name, tensor in state.items()}
            for state in (before, after)
        ]

    def predict(self, params: Params, x: Tensor) -> Tensor:
        """Outputs `(tasks, examples, outputs)` for x `(tasks, examples, *input)`, parameters from `adapt`.

        Classes have log probabilities.
        """
        with torch.no_grad():
            features = self.features(params, x)
            return self.heads.mixed(under(params, "prior."), under(params, "state."), features)

    def features(self, meta: Params, x: Tensor) -> Tensor:
        """What the head reads, `(tasks, examples, width)`."""
        own = {name: tensor for name, tensor in under(meta, "param.").items() if not self._is_head(name)}
        return self.body(own, x)

    def start(self, meta: Params) -> dict[str, Tensor]:
        """The heads' state before any label, which is the fleet's; without an axis of tasks."""
        weight = meta[f"param.{self.head}.weight"]
        bias = meta.get(f"param.{self.head}.bias")
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return self.heads.start(under(meta, "prior."), torch.cat([weight, bias.unsqueeze(1)], 1).T)

    def _of_stack(
        self, meta: dict[str, Tensor], support: Batch, query: Batch, importance: Tensor | None
    ) -> Summed:
        leaves = {name: tensor.requires_grad_() for name, tensor in meta.items()}
        with torch.enable_grad():
            state = self._solved(leaves, self.start(leaves), support)
            outputs = self.heads.mixed(under(leaves, "prior."), state, self.features(leaves, query[0]))
            total = weighted_mean(self.loss(outputs, query[1]), query[2]).sum()
            gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        gradient = dict(zip(leaves, gradients, strict=True))
        if self.config.exchangeable:  # classes of an episode are any classes: their priors stay alike
            for name in (*self._of_head(gradient), "prior.last.bias"):
                gradient[name] = gradient[name].mean(0, keepdim=True).expand_as(gradient[name])
        return gradient, figures(self.loss, outputs, query)

    def _solved(self, meta: Params, start: Params, support: Batch) -> dict[str, Tensor]:
        x, y, w = support
        return self.heads.adapted(under(meta, "prior."), start, self.features(meta, x), y, w)

    def _of_head(self, meta: Params) -> list[str]:
        return [name for name in meta if self._is_head(name.removeprefix("param."))]

    def _is_head(self, name: str) -> bool:
        return name.startswith(f"{self.head}.")


def build_closed_form(config: LearnerConfig, model: nn.Module, loss: Loss) -> ClosedFormLearner:
    """See `build_learner`.

    Raises:
        ModelError: the network does not end in a linear layer, or `compile` is `on` without a compiler.
    """
    bare, head = headless(model)
    layer = model.get_submodule(head)
    assert isinstance(layer, nn.Linear)
    classes = loss.name == "cross_entropy"
    usual = "both" if classes and not config.exchangeable else "last-layer"
    names = CHOICES[usual if config.heads == "auto" else config.heads]
    if "means" in names and not (classes and not config.exchangeable):
        raise ModelError(
            f"learner.heads is {config.heads!r}, but class means need classes that mean the same in every "
            "task: use last-layer"
        )
    backend = choose_backend(config, model)
    heads = Heads(names, layer.out_features, classes)
    return ClosedFormLearner(config, model, backend, loss, heads, head, stacked_forward(bare))
