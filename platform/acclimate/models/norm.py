"""Normalization without running statistics: a device has none to carry, and a pure function keeps none.

The fused operators of torch run without their affine part, and scale and shift follow outside: on torch 2.13,
`vmap` over `F.batch_norm` with a scale for each task gives a silently wrong second-order gradient.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NormKind = Literal["batch", "group", "none"]
EPSILON = 1e-5


class BatchStatisticsNorm(nn.Module):
    """Normalize each channel over the examples of the batch at hand and their positions, then scale and
    shift.

    A prediction depends on the examples beside it, as in the MAML paper: good for episodes that arrive whole,
    wrong for one example at a time.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _affine(F.batch_norm(x, None, None, training=True, eps=EPSILON), self.weight, self.bias)


class GroupNorm(nn.Module):
    """Normalize groups of channels within each example, then scale and shift each channel."""

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _affine(F.group_norm(x, self.groups, eps=EPSILON), self.weight, self.bias)


def norm_layer(kind: NormKind, channels: int) -> nn.Module:
    """The layer for `kind`; group norm takes the largest of 8, 4, 2, 1 groups that divides the channels."""
    if kind == "batch":
        return BatchStatisticsNorm(channels)
    if kind == "group":
        return GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)
    return nn.Identity()


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    shape = (-1,) + (1,) * (x.dim() - 2)
    return x * weight.reshape(shape) + bias.reshape(shape)
