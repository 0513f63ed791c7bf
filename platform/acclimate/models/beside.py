"""A front end that nobody trains with small layers on top, both read by the head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from acclimate.errors import ModelError
from acclimate.models.mlp import ACTIVATIONS
from acclimate.models.network import Network


class Beside(nn.Module):
    """Features and what hidden layers make of them, side by side: a head may read either."""

    def __init__(self, front: nn.Module, hidden: nn.Module) -> None:
        super().__init__()
        self.front, self.hidden = front, hidden

    def forward(self, x: Tensor) -> Tensor:
        features = self.front(x)
        return torch.cat([features, self.hidden(features)], -1)


def beside(
    name: str, front: nn.Module, features: int, outputs: int, hidden: Sequence[int], activation: str
) -> Network:
    """A head on `features` of `front` and on layers of the widths `hidden` above it; on the features alone
    where there are none.

    Args:
        name: of the model, for errors.
        activation: of the layers: relu, silu or tanh.

    Raises:
        ModelError: there is no such activation.
    """
    if activation not in ACTIVATIONS:
        raise ModelError(
            f"model {name}: activation {activation!r} is unknown; there are {', '.join(ACTIVATIONS)}"
        )
    if not hidden:
        return Network(front, nn.Linear(features, outputs))
    layers: list[nn.Module] = []
    for narrow, wide in pairwise((features, *hidden)):
        layers += [nn.Linear(narrow, wide), ACTIVATIONS[activation]()]
    return Network(Beside(front, nn.Sequential(*layers)), nn.Linear(features + hidden[-1], outputs))
