"""Levels of windows as features, for signals sampled slowly, where the latest rows say most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.models.beside import beside
from acclimate.models.network import Network

SOFT = 0.5
"""Deviations below this, in normalized units, count nearly alike; above, by their ratio."""


class Levels(nn.Module):
    """The last value, the mean and the log deviation of each channel of a window; single rows as they are.

    `(examples, channels, samples)` to `(examples, 3 * channels)`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return x
        mean = x.mean(-1)
        deviation = (x - mean.unsqueeze(-1)).square().mean(-1).sqrt()
        return torch.cat([x[..., -1], mean, (deviation + SOFT).log()], -1)


def levels(
    input_shape: Sequence[int], outputs: int, *, hidden: Sequence[int] = (), activation: str = "relu"
) -> Network:
    """Last value, mean and log deviation of each channel, for rows or windows of shape `(channels, samples)`.

    Args:
        hidden: widths of layers on top; their output stands beside the levels. Empty: the levels alone.
        activation: of those layers: relu, silu or tanh.

    Raises:
        ModelError: the inputs are images, or there is no such activation.
    """
    if len(input_shape) > 2:
        raise ModelError(f"model levels takes rows or windows, not inputs of shape {tuple(input_shape)}")
    features = input_shape[0] * (3 if len(input_shape) == 2 else 1)
    return beside("levels", Levels(), features, outputs, hidden, activation)
