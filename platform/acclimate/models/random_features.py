"""Random features: a body that nobody trains, so that a fleet's head can be learned in one round of sums.

Rahimi and Recht 2008, "Weighted sums of random kitchen sinks"; the inputs themselves stay among the features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acclimate.models.network import Network

WIDEST = 4.0
"""In normalized units; beyond it an input counts as it."""


class RandomFeatures(nn.Module):
    """Inputs, rectified random mixtures of them and a constant, scaled to length 1.

    `(examples, *input_shape)` to `(examples, inputs + width + 1)`. Length 1 bounds what an example adds to
    moments.
    """

    def __init__(self, inputs: int, width: int, spread: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, inputs) * spread / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.rand(width) * 2 - 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1).clamp(-WIDEST, WIDEST)
        mixed = torch.relu(flat @ self.weight.T + self.bias)
        features = torch.cat([flat, mixed, torch.ones_like(flat[:, :1])], 1)
        return features / features.square().sum(1, keepdim=True).sqrt()


def random_features(
    input_shape: Sequence[int], outputs: int, *, width: int = 192, spread: float = 1.0
) -> Network:
    """`width` rectified mixtures of the inputs beside the inputs, and a linear head.

    Args:
        spread: of the mixtures' weights, in units of 1 / sqrt(inputs).
    """
    inputs = math.prod(input_shape)
    return Network(RandomFeatures(inputs, width, spread), nn.Linear(inputs + width + 1, outputs))
