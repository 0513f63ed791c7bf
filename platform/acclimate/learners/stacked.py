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
        return vmap(single, in_dims=(axes, 0))(dict(params), x)

    return forward


def split_at_head(model: nn.Module, trainable: tuple[str, ...]) -> tuple[Forward, Forward] | None:
    """(features, head) when only the head of a `Network` adapts, so that features are computed once."""
    if not isinstance(model, Network) or not all(name.startswith("head.") for name in trainable):
        return None
    return _of_part(model.body, "body."), _of_part(model.head, "head.")


def _of_part(part: nn.Module, prefix: str) -> Forward:
    forward = stacked_forward(part)

    def of_part(params: Params, x: Tensor) -> Tensor:
        own = {
            name.removeprefix(prefix): tensor for name, tensor in params.items() if name.startswith(prefix)
        }
        return forward(own, x)

    return of_part
