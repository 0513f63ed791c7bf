"""One adaptation step as a function of tensors in a fixed order: what becomes `adapt.onnx`.

The step is the learners' own `inner_step`; this module only gives it a flat signature. A batch that is short
of examples is padded with weight 0 and gives the same update as the shorter batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.errors import BundleError
from acclimate.initialization import Initialization
from acclimate.learners import Loss, inner_step, rates_at, units_of

Step = Callable[..., tuple[Tensor, ...]]
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class StepSignature:
    """The order of a step's tensors; the names are those of the graph's inputs and outputs.

    Attributes:
        parameters: every parameter, in the model's order.
        trainable: those that move, in the model's order.
        rated: those of `trainable` that have a learned rate.
    """

    parameters: tuple[str, ...]
    trainable: tuple[str, ...]
    rated: tuple[str, ...]

    @staticmethod
    def of(initialization: Initialization) -> StepSignature:
        """The signature that an initialization's adaptation policy and rates ask for.

        Raises:
            BundleError: the policy or the rates name a parameter that does not exist.
        """
        # by name: whoever trained or loaded the initialization gave its dict an order of their own
        parameters = tuple(sorted(initialization.params))
        chosen = set(initialization.adaptation.trainable or parameters)
        unknown = sorted((chosen | set(initialization.rates)) - set(parameters))
        if unknown:
            raise BundleError(
                f"the adaptation policy names {unknown[0]!r}, which is no parameter of "
                f"{initialization.model.name!r}: its parameters are {', '.join(parameters)}"
            )
        trainable = tuple(name for name in parameters if name in chosen)
        return StepSignature(
            parameters=parameters,
            trainable=trainable,
            rated=tuple(name for name in trainable if name in initialization.rates),
        )

    @property
    def inputs(self) -> list[str]:
        """Input names of `adapt.onnx`: parameters, batch, shared rate, learned rates."""
        return [
            *(f"param.{name}" for name in self.parameters),
            *("x", "y", "w", "lr"),
            *(f"rate.{name}" for name in self.rated),
        ]

    @property
    def outputs(self) -> list[str]:
        """Output names of `adapt.onnx`: the parameters that moved, and the loss before the step."""
        return [*(f"next.{name}" for name in self.trainable), "loss"]


def step_function(model: nn.Module, loss: Loss, signature: StepSignature) -> Step:
    """The step over positional tensors in the order of `signature.inputs`, giving `signature.outputs`."""
    count = len(signature.parameters)

    def forward(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(model, dict(params), (x,))
        return outputs

    units = units_of(model)

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        params = dict(zip(signature.parameters, tensors[:count], strict=True))
        x, y, w, lr = tensors[count : count + 4]
        learned = dict(zip(signature.rated, tensors[count + 4 :], strict=True))
        rates = {name: learned.get(name, lr) for name in signature.trainable}
        counted = None if units is None else units(params, x)
        after, value = inner_step(forward, loss, params, rates, (x, y, w), units=counted)
        return (*(after[name] for name in signature.trainable), value)

    return step


def step_inputs(
    initialization: Initialization,
    signature: StepSignature,
    params: Mapping[str, Tensor],
    batch: Batch,
    step: int = 0,
) -> tuple[Tensor, ...]:
    """The positional tensors of step `step` (from 0), in the order of `signature.inputs`."""
    inner_lr = initialization.adaptation.inner_lr
    rates = rates_at(step, signature.rated, inner_lr, initialization.rates)
    learned = [rates[name] for name in signature.rated]
    lr = torch.tensor(inner_lr, dtype=batch[2].dtype)
    return (*(params[name] for name in signature.parameters), *batch, lr, *map(torch.as_tensor, learned))


def chain(
    run: Callable[..., Sequence[Tensor]],
    initialization: Initialization,
    signature: StepSignature,
    batch: Batch,
    steps: int,
) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """Run `steps` steps on one batch, each from where the one before it ended.

    Args:
        run: one step over positional tensors: the eager step, or a session of the exported graph.

    Returns:
        The parameters after every step, and the loss before every step.
    """
    params = dict(initialization.params)
    trajectory, losses = [], []
    for index in range(steps):
        *moved, loss = (
            result.detach() for result in run(*step_inputs(initialization, signature, params, batch, index))
        )
        params = params | dict(zip(signature.trainable, moved, strict=True))
        trajectory.append(params)
        losses.append(loss)
    return trajectory, losses
