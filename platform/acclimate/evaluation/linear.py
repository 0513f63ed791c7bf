"""A pooled linear model on the same inputs: ridge regression of numbers, logistic regression of classes.

One for all devices, fitted to the rows of the training tasks; it does not adapt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.evaluation.contenders import Setting, Start
from acclimate.evaluation.rows import as_rows, pooled_rows
from acclimate.tasks import Episodes, Sampler

PENALTIES = (100.0, 10.0, 1.0, 0.1)
"""Of squared weights, where an example's loss counts 1; a constant's is not penalized."""
_ROUNDS = 100  # of a quasi-Newton search, at most


@dataclass(frozen=True)
class PooledLinear:
    """Fitted weights; made by `fit`.

    Attributes:
        weights: by penalty, `(width + 1, outputs)`; the last row is the constant's.
    """

    weights: Mapping[float, Tensor]

    start: ClassVar[Start] = "linear"
    steps: ClassVar[tuple[int, ...]] = (0,)

    @property
    def settings(self) -> Sequence[Setting]:
        return tuple({"penalty": penalty} for penalty in self.weights)

    def outputs(self, episodes: Episodes, setting: Setting) -> list[Tensor]:
        x = episodes.query.x
        told = _extended(as_rows(x.flatten(0, 1))) @ self.weights[float(setting["penalty"])]
        return [told.to(x.dtype).reshape(*x.shape[:2], -1)]


def fit(train: Sampler, outputs: int, *, classes: bool) -> PooledLinear:
    """Linear models of every penalty, fitted to examples of the training tasks.

    Args:
        outputs: classes, or real outputs.
        classes: whether targets are class numbers.
    """
    x, y = pooled_rows(train)
    rows = _extended(x)
    return PooledLinear(_logistic(rows, y, outputs) if classes else _ridge(rows, y.double()))


def _ridge(rows: Tensor, y: Tensor) -> dict[float, Tensor]:
    gram, along = rows.T @ rows, rows.T @ y
    penalized = _penalized(rows)
    return {
        each: torch.linalg.lstsq(gram + each * penalized, along, driver="gelsd").solution
        for each in PENALTIES
    }


def _logistic(rows: Tensor, y: Tensor, classes: int) -> dict[float, Tensor]:
    """Each search begins where the last, under a greater penalty, ended."""
    weights = torch.zeros(rows.shape[1], classes, dtype=rows.dtype, requires_grad=True)
    penalized = _penalized(rows)
    found: dict[float, Tensor] = {}
    for penalty in PENALTIES:
        search = torch.optim.LBFGS([weights], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

        def loss(penalty: float = penalty, search: torch.optim.Optimizer = search) -> Tensor:
            search.zero_grad()
            squares = (penalized @ weights.square()).sum()
            total = F.cross_entropy(rows @ weights, y, reduction="sum") + penalty / 2 * squares
            total = total / len(rows)
            total.backward()  # type: ignore[no-untyped-call]
            return total

        with torch.enable_grad():
            search.step(loss)  # type: ignore[no-untyped-call]
        found[penalty] = weights.detach().clone()
    return found


def _penalized(rows: Tensor) -> Tensor:
    """A diagonal of ones, but for the constant's."""
    ones = torch.ones(rows.shape[1], dtype=rows.dtype)
    ones[-1] = 0
    return torch.diag(ones)


def _extended(x: Tensor) -> Tensor:
    """Rows with a constant one, in double precision."""
    return F.pad(x.double(), (0, 1), value=1.0)
