"""A network in two parts: a body that makes features and a linear head that reads them.

Every built-in model is one of these, so that "head only" means the same everywhere, and a learner that adapts
only the head can compute the features once. Parameters are named `body.*` and `head.*`.
"""

from __future__ import annotations

from torch import Tensor, nn


class Network(nn.Module):
    """`head(body(x))` for x of shape `(examples, *input_shape)`; outputs are `(examples, outputs)`."""

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))
