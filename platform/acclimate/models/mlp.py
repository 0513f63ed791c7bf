"""Fully connected network for rows of features, or short windows flattened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from acclimate.errors import ModelError
from acclimate.models.network import Network

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


def mlp(
    input_shape: Sequence[int],
    outputs: int,
    *,
    hidden: Sequence[int] = (40, 40),
    activation: str = "relu",
) -> Network:
    """Layers of the widths `hidden`, each followed by `activation` (relu, silu or tanh), then a linear head.

    The default is the sinusoid network of Finn et al. (2017), https://arxiv.org/abs/1703.03400. Where the
    target is smooth, `silu` or `tanh` adapts closer to it than `relu`.

    Raises:
        ModelError: there is no such activation.
    """
    if activation not in ACTIVATIONS:
        raise ModelError(f"mlp: activation {activation!r} is unknown; there are {', '.join(ACTIVATIONS)}")
    widths = (math.prod(input_shape), *hidden)
    layers: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), ACTIVATIONS[activation]()]
    return Network(nn.Sequential(*layers), nn.Linear(widths[-1], outputs))
