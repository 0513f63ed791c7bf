"""A network without its head: any module whose last layer is linear, ours or the user's own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from acclimate.errors import ModelError


def headless(model: nn.Module) -> tuple[nn.Module, str]:
    """(the model without its head, the head's name); see `check_head` for what must hold.

    The head is the submodule `head`, or else the last linear layer.

    Raises:
        ModelError: the model has no linear layer.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ModelError(
            f"closed-form needs a network that ends in a linear layer and {type(model).__name__} has none: "
            "end it with torch.nn.Linear, or use meta-sgd"
        )
    name = "head" if "head" in linear else linear[-1]
    bare = copy.deepcopy(model)
    bare.set_submodule(name, nn.Identity())
    return bare, name


def check_head(model: nn.Module, input_shape: Sequence[int]) -> None:
    """Make sure that the model's outputs are its head applied to features.

    Raises:
        ModelError: something comes after the head, or the model has none.
    """
    bare, name = headless(model)
    example = next(model.parameters())
    with torch.no_grad():
        x = torch.linspace(-1, 1, 2 * torch.Size(input_shape).numel()).reshape(2, *input_shape).to(example)
        head = model.get_submodule(name)
        try:
            features = bare(x)
            fits = isinstance(head, nn.Linear) and features.shape[-1:] == (head.in_features,)
            fits = fits and torch.allclose(head(features), model(x), rtol=1e-4, atol=1e-5)
        except RuntimeError:  # what comes after the head takes its outputs and not its features
            fits = False
        if not fits:
            raise ModelError(
                f"closed-form solves the last layer, but the outputs of {type(model).__name__} are not "
                f"{name!r} of its features: let the linear layer come last, name it `head`, or use meta-sgd"
            )
