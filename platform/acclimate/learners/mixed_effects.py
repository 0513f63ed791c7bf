"""The last layer's prior from training tasks: a linear mixed-effects model on the body's features.

Each task's head is `W ~ N(W0, P0 (x) s^2)` and its targets are `W'phi` with noise of variance s^2, one for
each output. W0 is the generalized least squares estimate, s^2 the profile estimate, and P0 is diagonal: its
entries begin at the likeliest of a grid, one for all slopes and one for the level, and go on by
expectation-maximization (Laird and Ware 1982, https://doi.org/10.2307/2529876). So a device's labels move
what differs between the fleet's devices, such as their level, and leave alone what they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SCALES = tuple(10.0 ** (half / 2) for half in range(-10, 5))
"""Variances between tasks, in units of the noise's."""
ITERATIONS = 30
_LEAST = 1e-6


def mixed_effects_prior(phi: Tensor, y: Tensor, w: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """W0 `(d, C)` and the factor `(d, d)` of P0, see `last_layer.covariance`.

    W0 strays from the given mean as a task's head would.

    Args:
        phi: `(tasks, examples, d)`, the last feature a constant one.
        y: `(tasks, examples, C)`.
        w: `(tasks, examples)`; 0 pads.
        mean: of the joint model, `(d, C)`.
    """
    root = w.double().sqrt().unsqueeze(-1)
    seen = _Seen(phi.double() * root, y.double() * root, mean.double(), float(w.sum()))
    slopes = torch.ones(phi.shape[-1], dtype=torch.float64)
    slopes[-1] = 0
    fit = _likeliest(seen, [scale * torch.ones_like(slopes) for scale in SCALES])
    fit = _likeliest(seen, [fit.spread * slopes + scale * (1 - slopes) for scale in SCALES])
    fit = _likeliest(seen, [fit.spread * (1 - slopes) + scale * slopes for scale in SCALES])
    for _ in range(ITERATIONS):
        fit = _Fit(seen, fit.expected())
    return fit.mean.to(mean), fit.spread.log().diag().to(mean)


@dataclass(frozen=True)
class _Seen:
    """Training tasks, each row by the root of its weight, and the sum of the weights."""

    phi: Tensor
    y: Tensor
    first: Tensor
    rows: float


class _Fit:
    """What follows from variances between tasks.

    Attributes:
        spread: the diagonal of P0 `(d,)`.
        mean: W0 `(d, C)`.
        deviance: minus twice the log likelihood, up to a constant; the noise at its best.
    """

    def __init__(self, seen: _Seen, spread: Tensor) -> None:
        self.spread, phi = spread, seen.phi
        inner = torch.eye(phi.shape[1], dtype=phi.dtype) + phi * spread @ phi.mT
        factor = torch.linalg.cholesky(inner)
        weighed = torch.cholesky_solve(phi, factor)
        off = seen.y - phi @ seen.first
        known, told = (weighed.mT @ phi).sum(0), (weighed.mT @ off).sum(0)
        moved = torch.linalg.solve(torch.diag(1 / spread) + known, told)
        self.mean, off = seen.first + moved, off - phi @ moved
        solved = torch.cholesky_solve(off, factor)
        noise = ((off * solved).sum((0, 1)) / seen.rows).clamp_min(_LEAST)
        volume = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum()
        self.deviance = float(len(noise) * volume + seen.rows * noise.log().sum())
        self._strays = phi.mT @ (solved / noise.sqrt()) * spread.unsqueeze(-1)
        self._known = (phi * weighed).sum(-2)

    def expected(self) -> Tensor:
        """The diagonal after one step of expectation-maximization."""
        left = self.spread - self.spread.square() * self._known
        return (self._strays.square().mean(-1) + left).mean(0).clamp_min(_LEAST)


def _likeliest(seen: _Seen, spreads: list[Tensor]) -> _Fit:
    return min((_Fit(seen, each) for each in spreads), key=lambda fit: fit.deviance)
