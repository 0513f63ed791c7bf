"""Convolutional networks: `conv1d` for windows of sensor channels, `conv4` for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.models.network import Network
from acclimate.models.norm import EPSILON, NormKind, norm_layer

Readout = Literal["flatten", "mean", "blocks"]


class MeanOverPositions(nn.Module):
    """Average each channel over time or the image: `(examples, channels, ...)` to `(examples, channels)`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(-1)


class BlocksReadout(nn.Module):
    """Every block's mean over positions beside the input's mean and deviation by channel.

    Early blocks tell how a sensor sits and moves, late ones what is done with it: a linear head reads both.
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(2).mean(-1)
        parts = [mean, ((x.flatten(2) - mean.unsqueeze(-1)).square().mean(-1) + EPSILON).sqrt()]
        for block in self.blocks:
            x = block(x)
            parts.append(x.flatten(2).mean(-1))
        return torch.cat(parts, -1)


class ConvBlock(nn.Module):
    """Convolution ("same" padding), norm, ReLU, and max pooling by two unless the input is too short for it.

    The convolution has no bias before a norm, which would subtract it again.
    """

    def __init__(
        self, dimensions: int, channels: int, filters: int, kernel: int, norm: NormKind, pool: bool
    ) -> None:
        super().__init__()
        conv, max_pool = (nn.Conv1d, nn.MaxPool1d) if dimensions == 1 else (nn.Conv2d, nn.MaxPool2d)
        self.conv = conv(channels, filters, kernel, padding=kernel // 2, bias=norm == "none")
        self.norm = norm_layer(norm, filters)
        self.pool = max_pool(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.norm(self.conv(x)).relu())


def conv1d(
    input_shape: Sequence[int],
    outputs: int,
    *,
    filters: int = 32,
    blocks: int = 4,
    kernel: int = 5,
    norm: NormKind = "group",
    readout: Readout = "mean",
) -> Network:
    """Blocks of convolution over time for windows of shape `(channels, time)`; each halves the time axis.

    `norm: group` predicts each window on its own, as a device does; `batch` is the norm of the MAML paper.
    `readout: blocks` gives the head every block's mean and the input's own mean and deviation.
    """
    return _convolutional(1, input_shape, outputs, filters, blocks, kernel, norm, readout)


def conv4(
    input_shape: Sequence[int],
    outputs: int,
    *,
    filters: int = 64,
    blocks: int = 4,
    kernel: int = 3,
    norm: NormKind = "batch",
    readout: Readout = "flatten",
) -> Network:
    """The four-block image network of few-shot learning, for images of shape `(channels, height, width)`.

    Vinyals et al. (2016), https://arxiv.org/abs/1606.04080, as used by Finn et al. (2017).
    """
    return _convolutional(2, input_shape, outputs, filters, blocks, kernel, norm, readout)


def _convolutional(
    dimensions: int,
    input_shape: Sequence[int],
    outputs: int,
    filters: int,
    blocks: int,
    kernel: int,
    norm: NormKind,
    readout: Readout,
) -> Network:
    name = f"conv{'1d' if dimensions == 1 else '4'}"
    if len(input_shape) != dimensions + 1:
        axes = "(channels, time)" if dimensions == 1 else "(channels, height, width)"
        raise ModelError(f"model {name} takes inputs of shape {axes}, not {tuple(input_shape)}")
    if kernel % 2 == 0:
        raise ModelError(f"model {name}: kernel is {kernel}; use an odd width so that positions stay aligned")
    if norm not in ("batch", "group", "none"):
        raise ModelError(f"model {name}: norm is {norm!r}; use batch, group or none")
    if readout not in get_args(Readout):
        raise ModelError(f"model {name}: readout is {readout!r}; use {' or '.join(get_args(Readout))}")
    channels, *positions = input_shape
    layers: list[nn.Module] = []
    for _ in range(blocks):
        pool = min(positions) >= 2
        layers.append(ConvBlock(dimensions, channels, filters, kernel, norm, pool))
        channels, positions = filters, [size // 2 if pool else size for size in positions]
    if readout == "blocks":
        return Network(BlocksReadout(layers), nn.Linear(2 * input_shape[0] + blocks * filters, outputs))
    layers.append(MeanOverPositions() if readout == "mean" else nn.Flatten())
    features = channels if readout == "mean" else channels * math.prod(positions)
    return Network(nn.Sequential(*layers), nn.Linear(features, outputs))
