"""Closed-form heads on one body's features: a last layer, class means, or both, their probabilities averaged.

A head's prior is part of the meta-parameters; its state is what a support makes of it. Both are flat dicts of
tensors: `last.*` of the last layer, `means.*` of the class means.

| prior | shape | what |
| --- | --- | --- |
| `last.factor` | (d, d) | of P0, see `last_layer.covariance`; d counts the constant one |
| `last.scale`, `last.power`, `last.bias` | (), (), (C,) | of the logits (classes only) |
| `means.projection` | (r, d - 1) | A |
| `means.mean`, `means.factor` | (C, r), (C, C) | M0, and of K, see `class_means.covariance` |
| `means.scale`, `means.power`, `means.bias` | (), (), (C,) | of the logits |
| `temperature` | () | divides the log probabilities; set after training, 1 until then |

The last layer's prior mean W0 is the network's own head. State: `last.mean`, `last.cov`, `means.mean`,
`means.cov`, with a leading axis of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.learners import class_means, last_layer
from acclimate.learners.config import HeadsChoice

HeadName = Literal["last", "means"]
Tensors = Mapping[str, Tensor]
Gammas = Mapping[HeadName, Tensor]


CHOICES: dict[str, tuple[HeadName, ...]] = {
    "last-layer": ("last",),
    "class-means": ("means",),
    "both": ("last", "means"),
}


def heads_in(prior: Tensors) -> HeadsChoice:
    """Which heads a prior is of."""
    names = tuple(name for name in ("last", "means") if f"{name}.factor" in prior)
    return next(choice for choice in ("last-layer", "class-means", "both") if CHOICES[choice] == names)


@dataclass(frozen=True)
class Heads:
    """Which heads there are and what they answer.

    Attributes:
        names: `last`, `means` or both, in this order.
        outputs: classes or targets.
        classes: whether the outputs are classes.
    """

    names: tuple[HeadName, ...]
    outputs: int
    classes: bool

    def prior(self, width: int) -> dict[str, Tensor]:
        """A prior that knows nothing of a fleet, on `width` features."""
        made: dict[str, Tensor] = {}
        if "last" in self.names:
            made["last.factor"] = (-math.log(0.3) if self.classes else 0.0) * torch.eye(width + 1)
        if "last" in self.names and self.classes:
            made |= {"last.scale": torch.tensor(1.5), "last.power": torch.tensor(0.5)}
            made["last.bias"] = torch.zeros(self.outputs)
        if "means" in self.names:
            spread = 0.25 * (torch.eye(self.outputs) + 1)
            made |= {
                "means.projection": torch.eye(width),
                "means.mean": torch.zeros(self.outputs, width),
                "means.factor": torch.linalg.cholesky(spread),
                "means.scale": torch.tensor(math.log(0.5)),
                "means.power": torch.tensor(0.1 * width),
                "means.bias": torch.zeros(self.outputs),
            }
        return made

    def targets(self, y: Tensor, like: Tensor) -> Tensor:
        """What the heads regress on: one-hot classes `(..., C)`, or the real targets as they are."""
        return F.one_hot(y, self.outputs).to(like.dtype) if self.classes else y

    def start(self, prior: Tensors, mean0: Tensor) -> dict[str, Tensor]:
        """The state before any label: the fleet's, without an axis of tasks.

        Args:
            mean0: W0 `(d, C)`.
        """
        made: dict[str, Tensor] = {}
        if "last" in self.names:
            made |= {"last.mean": mean0, "last.cov": last_layer.covariance(prior["last.factor"])}
        if "means" in self.names:
            made |= {
                "means.mean": prior["means.mean"],
                "means.cov": class_means.covariance(prior["means.factor"]),
            }
        return made

    def adapted(
        self, prior: Tensors, start: Tensors, features: Tensor, y: Tensor, w: Tensor
    ) -> dict[str, Tensor]:
        """The state of each task after its support: features `(tasks, examples, d - 1)`, y, w."""
        targets, reads = self.targets(y, features), self.reads(prior, features)
        made: dict[str, Tensor] = {}
        for name in self.names:
            posterior = last_layer.posterior if name == "last" else class_means.posterior
            centred = targets - 1 / self.outputs if self.classes and name == "last" else targets
            made[f"{name}.mean"], made[f"{name}.cov"] = posterior(
                start[f"{name}.mean"], start[f"{name}.cov"], reads[name], centred, w
            )
        return made

    def updated(
        self, prior: Tensors, start: Tensors, state: Tensors, features: Tensor, y: Tensor, gamma: Gammas
    ) -> dict[str, Tensor]:
        """The state after one more label of each task, in the order in which they come.

        Args:
            features: `(tasks, 1, d - 1)`.
            y: `(tasks, 1[, C])`.
            gamma: of each head, by name; shaped to broadcast with `(tasks, 1, 1)`.
        """
        pulled = self.pulled(start, gamma)
        return self.moved(pulled, state, self.reads(prior, features), self.targets(y, features), gamma)

    def pulled(self, start: Tensors, gamma: Gammas) -> dict[str, Tensor]:
        """What forgetting adds before each label, by the state's names; see `last_layer.pull`."""
        made: dict[str, Tensor] = {}
        for name in self.names:
            names = f"{name}.mean", f"{name}.cov"
            pulled = last_layer.pull(start[names[0]], start[names[1]], gamma[name])
            made |= dict(zip(names, pulled, strict=True))
        return made

    def reads(self, prior: Tensors, features: Tensor) -> dict[HeadName, Tensor]:
        """What each head reads of the features: phi `(..., d)`, z `(..., r)`."""
        made: dict[HeadName, Tensor] = {}
        if "last" in self.names:
            made["last"] = last_layer.extended(features)
        if "means" in self.names:
            made["means"] = features @ prior["means.projection"].T
        return made

    def moved(
        self,
        pulled: Tensors,
        state: Tensors,
        reads: Mapping[HeadName, Tensor],
        targets: Tensor,
        gamma: Gammas,
    ) -> dict[str, Tensor]:
        """`updated` of what the heads read, and of targets as `targets` makes them."""
        made: dict[str, Tensor] = {}
        for name in self.names:
            update = last_layer.update if name == "last" else class_means.update
            centred = targets - 1 / self.outputs if self.classes and name == "last" else targets
            mean, cov = f"{name}.mean", f"{name}.cov"
            made[mean], made[cov] = update(
                state[mean], state[cov], (pulled[mean], pulled[cov]), reads[name], centred, gamma[name]
            )
        return made

    def answers(self, prior: Tensors, state: Tensors, features: Tensor) -> dict[HeadName, Tensor]:
        """Of each head: log probabilities, or the mean of real targets, `(tasks, examples, C)`."""
        made: dict[HeadName, Tensor] = {}
        reads = self.reads(prior, features)
        if "last" in self.names:
            mean, variance = last_layer.predict(state["last.mean"], state["last.cov"], reads["last"])
            if not self.classes:
                return {"last": mean}
            scale, power, bias = (prior[f"last.{part}"] for part in ("scale", "power", "bias"))
            made["last"] = last_layer.logits(mean, variance, scale, power, bias).log_softmax(-1)
        if "means" in self.names:
            scale, power, bias = (prior[f"means.{part}"] for part in ("scale", "power", "bias"))
            logits = class_means.logits(
                state["means.mean"], state["means.cov"], reads["means"], scale, power, bias
            )
            made["means"] = logits.log_softmax(-1)
        return made

    def tempered(self, prior: Tensors, name: HeadName, temperature: float) -> dict[str, Tensor]:
        """The prior's entries with which a head's logits are divided by a temperature."""
        made = {
            f"{name}.scale": prior[f"{name}.scale"] - math.log(temperature),
            f"{name}.bias": prior[f"{name}.bias"] / temperature,
        }
        if name == "means":  # the last layer's power is an exponent of its scale
            made["means.power"] = prior["means.power"] / temperature
        return made

    def widened(self, prior: Tensors, name: HeadName, width: float, level: float = 1.0) -> dict[str, Tensor]:
        """The prior's entry with which a head's covariance before any label is `width` times as wide.

        Args:
            level: last layer only: how many times as wide once more is what its constant feature answers.
        """
        factor = prior[f"{name}.factor"]
        if name == "means":
            return {f"{name}.factor": factor * math.sqrt(width)}
        wide = factor.new_full((len(factor),), width)
        wide[-1] *= level
        lower = torch.tril(factor, -1) * wide.sqrt().unsqueeze(-1)  # its diagonal is a logarithm
        return {f"{name}.factor": lower + torch.diag(factor.diagonal() + wide.log())}

    def mixed(self, prior: Tensors, state: Tensors, features: Tensor) -> Tensor:
        """Log of the averaged probabilities, or real targets, `(tasks, examples, C)`."""
        answers = list(self.answers(prior, state, features).values())
        if not self.classes:
            return answers[0]
        mixed = torch.logsumexp(torch.stack(answers), 0) - math.log(len(answers))
        return mixed / prior["temperature"] if "temperature" in prior else mixed

    def variance(self, state: Tensors, features: Tensor) -> Tensor:
        """Of real targets, in units of the noise's, `(tasks, examples, 1)`."""
        return last_layer.predict(state["last.mean"], state["last.cov"], last_layer.extended(features))[1]
