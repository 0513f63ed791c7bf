"""Fully connected network for rows of features, or short windows flattened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from acclimate.models.network import Network


def mlp(input_shape: Sequence[int], outputs: int, *, hidden: Sequence[int] = (40, 40)) -> Network:
    """ReLU layers of the widths `hidden`, then a linear head.

    The default is the sinusoid network of Finn et al. (2017), https://arxiv.org/abs/1703.03400.
    """
    widths = (math.prod(input_shape), *hidden)
    layers: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    return Network(nn.Sequential(*layers), nn.Linear(widths[-1], outputs))
