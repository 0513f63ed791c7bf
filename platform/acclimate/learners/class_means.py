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
    product = lower @ lower.T
    floor = FLOOR * torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return (product + product.T) / 2 + floor


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
    mean: Tensor,
    cov: Tensor,
    pulled: tuple[Tensor, Tensor],
    z: Tensor,
    one_hot: Tensor,
    gamma: Tensor,
) -> tuple[Tensor, Tensor]:
    """One label, in O(C^2 + C r); see `last_layer.update`, whose `pull` it takes.

    Args:
        mean: M `(..., C, r)`.
        cov: P `(..., C, C)`.
        pulled: `last_layer.pull(M0, K, gamma)`.
        z: `(..., 1, r)`.
        one_hot: `(..., 1, C)`.
        gamma: what is left of the device's own after one label, in (0, 1].
    """
    mean = mean * gamma + pulled[0]
    cov = cov * (gamma * gamma) + pulled[1]
    u = one_hot @ cov
    variance = u @ one_hot.mT + 1
    return mean + (u.mT / variance) @ (z - one_hot @ mean), cov - (u.mT @ u) / variance


def logits(mean: Tensor, cov: Tensor, z: Tensor, scale: Tensor, power: Tensor, bias: Tensor) -> Tensor:
    """`-exp(scale) |z - M_c|^2 / v_c - power log v_c + bias_c`, `v_c = 1 + P_cc`, `(..., examples, C)`."""
    variance = 1 + torch.diagonal(cov, dim1=-2, dim2=-1).unsqueeze(-2)
    distance = (z * z).sum(-1, keepdim=True) - 2 * z @ mean.mT + (mean * mean).sum(-1).unsqueeze(-2)
    return -scale.exp() * distance / variance - power * variance.log() + bias
