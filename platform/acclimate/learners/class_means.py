"""Class means with a correlated prior: a device's classes differ from the fleet's as devices do.

In the space z = A f(x), where a class has unit covariance, the device's class means are `M ~ N(M0, K (x) I)`.
K `(C, C)` says how far devices' class means stray from the fleet's, and together with which others: a label
of one class moves the means of those that go with it. The posterior is exact, in one solve or one label at
a time; it is a Kalman filter with one state for each class.

Shapes: C classes, r dimensions; leading axes (tasks) are free and broadcast.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-4  # least variance of a class mean between devices


def covariance(factor: Tensor) -> Tensor:
    """K `(C, C)` of the lower triangle of `factor`, positive definite."""
    lower = torch.tril(factor)
    return lower @ lower.T + FLOOR * torch.eye(len(factor), dtype=factor.dtype, device=factor.device)


def posterior(mean: Tensor, prior: Tensor, z: Tensor, one_hot: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """The exact posterior of a support.

    Args:
        mean: M0 `(C, r)`.
        prior: K `(C, C)`.
        z: `(tasks, examples, r)`.
        one_hot: `(tasks, examples, C)`.
        w: `(tasks, examples)`: how often an example counts; 0 pads.

    Returns:
        M `(tasks, C, r)` and P `(tasks, C, C)`, symmetric. A class without examples moves with the others.
    """
    counted = one_hot * w.unsqueeze(-1)
    number = counted.sum(-2)
    root = number.sqrt()
    known = prior * root.unsqueeze(-2)
    eye = torch.eye(prior.shape[-1], dtype=prior.dtype, device=prior.device)
    inner = eye + root.unsqueeze(-1) * known
    after = prior - known @ torch.linalg.solve(inner, known.mT)
    after = (after + after.mT) / 2
    return mean + after @ (counted.mT @ z - number.unsqueeze(-1) * mean), after


def update(
    mean: Tensor, cov: Tensor, mean0: Tensor, cov0: Tensor, z: Tensor, one_hot: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor]:
    """One label, in O(C^2 + C r): first forget towards the fleet's prior, then condition on the example.

    Args:
        mean: M `(..., C, r)`.
        cov: P `(..., C, C)`.
        mean0: M0.
        cov0: K.
        z: `(..., 1, r)`.
        one_hot: `(..., 1, C)`.
        gamma: what is left of the device's own after one label, in (0, 1].
    """
    # Not as a move from the prior, whose width would cost float32 its digits: 4e-3 after 3,000 labels.
    square = gamma * gamma
    mean = mean * gamma + mean0 * (1 - gamma)
    cov = cov * square + cov0 * (1 - square)
    u = one_hot @ cov
    gain = u.mT / (u @ one_hot.mT + 1)
    cov = cov - gain @ u
    return mean + gain @ (z - one_hot @ mean), (cov + cov.mT) * 0.5


def logits(mean: Tensor, cov: Tensor, z: Tensor, scale: Tensor, power: Tensor, bias: Tensor) -> Tensor:
    """`-exp(scale) |z - M_c|^2 / v_c - power log v_c + bias_c`, `v_c = 1 + P_cc`, `(..., examples, C)`."""
    variance = 1 + torch.diagonal(cov, dim1=-2, dim2=-1).unsqueeze(-2)
    distance = (z * z).sum(-1, keepdim=True) - 2 * z @ mean.mT + (mean * mean).sum(-1).unsqueeze(-2)
    return -scale.exp() * distance / variance - power * variance.log() + bias
