"""Errors in the units of the input at hand, where a model has some.

A fleet's series differ in scale by orders of magnitude, and the large ones must not decide alone. A model
that brings each window to a scale of its own says so by a method `units(x)`: by how much each output's error
counts as one. The loss is then taken of outputs and targets over them; the metric people read stays.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from acclimate.learners.inner import Forward, Params
from acclimate.learners.stacked import stacked_forward

_PREFIX = "model."


def has_units(model: nn.Module) -> bool:
    """Whether `model` tells the units of its errors."""
    return callable(getattr(model, "units", None))


def units_of(model: nn.Module) -> Forward | None:
    """`units(params, x)`, `(examples, outputs)` for x `(examples, *input)`; None where there are none."""
    if not has_units(model):
        return None
    module = _Units(model)

    def units(params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = functional_call(module, _prefixed(params), (x,))
        return found

    return units


def stacked_units(model: nn.Module) -> Forward | None:
    """`units_of` for a stack of tasks, as in `stacked_forward`."""
    if not has_units(model):
        return None
    forward = stacked_forward(_Units(model))

    def units(params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            return forward(_prefixed(params), x)

    return units


class _Units(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.model.units(x)  # type: ignore[operator]
        return found


def _prefixed(params: Params) -> dict[str, Tensor]:
    return {f"{_PREFIX}{name}": tensor for name, tensor in params.items()}
