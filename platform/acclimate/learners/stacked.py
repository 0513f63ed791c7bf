"""A model's forward pass for a stack of tasks, each with parameters of its own."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call, vmap

from acclimate.learners.inner import Forward, Params
from acclimate.models import Network


def stacked_forward(model: nn.Module) -> Forward:
    """`forward(params, x)` for x `(tasks, examples, *input)`, giving `(tasks, examples, outputs)`.

    A parameter with one axis more than the model's own holds a value for each task; the others are shared.
    """
    own = {name: parameter.dim() for name, parameter in model.named_parameters()}

    def single(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, params, (x,))

    def forward(params: Params, x: Tensor) -> Tensor:
        axes = {name: 0 if tensor.dim() > own[name] else None for name, tensor in params.items()}
        return vmap(single, in_dims=(axes, 0), randomness="different")(dict(params), x)

    return forward


def adapts_head_only(model: nn.Module, trainable: tuple[str, ...]) -> bool:
    """Whether `model` is `head(body(x))` and adaptation leaves the body alone."""
    return isinstance(model, Network) and all(name.startswith("head.") for name in trainable)


def part_forward(model: nn.Module, part: str) -> Forward:
    """`stacked_forward` of the submodule `part`, on the parameters of the whole model."""
    forward = stacked_forward(model.get_submodule(part))
    prefix = f"{part}."

    def of_part(params: Params, x: Tensor) -> Tensor:
        own = {
            name.removeprefix(prefix): tensor for name, tensor in params.items() if name.startswith(prefix)
        }
        return forward(own, x)

    return of_part
