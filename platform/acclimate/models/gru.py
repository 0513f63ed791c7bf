"""Gated recurrent unit over windows of sensor channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.models.network import Network


class GatedRecurrence(nn.Module):
    """The last hidden state of one GRU layer; `(examples, channels, time)` to `(examples, hidden)`.

    Written out step by step, in the form of Cho et al. (2014), https://arxiv.org/abs/1406.1078: torch's own
    operator has no second derivative on every backend and does not trace to inference operators.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(channels, 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        driven = self.inputs(x.transpose(-1, -2))
        state = driven.new_zeros(()).expand(*driven.shape[:-2], driven.shape[-1] // 3)
        for now in driven.unbind(-2):
            reset_in, update_in, new_in = now.chunk(3, -1)
            reset_rec, update_rec, new_rec = self.recurrent(state).chunk(3, -1)
            update = torch.sigmoid(update_in + update_rec)
            new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_rec) * new_rec)
            state = new + update * (state - new)
        return state


def gru(input_shape: Sequence[int], outputs: int, *, hidden: int = 32) -> Network:
    """One recurrent layer read at its last step, for windows of shape `(channels, time)`.

    The cost of a step, and of its exported graph, grows with the time axis: keep windows short.
    """
    if len(input_shape) != 2:
        raise ModelError(f"model gru takes inputs of shape (channels, time), not {tuple(input_shape)}")
    return Network(GatedRecurrence(input_shape[0], hidden), nn.Linear(hidden, outputs))
