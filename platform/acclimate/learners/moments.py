"""Priors of closed-form heads from moments of the training tasks: where meta-training begins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHRINK = 0.2  # of the within-class covariance towards a multiple of the identity
STRAY = 0.5  # of the measured spread of class means between devices
_FLOOR = 1e-3


def class_mean_prior(features: Tensor, y: Tensor, w: Tensor, classes: int) -> dict[str, Tensor]:
    """The prior of `class_means`: whitening projection, fleet's class means, spread between devices.

    The spread is the covariance of tasks' class means less what sampling noise adds to it. A class that no
    task holds begins at the mean of the others and strays like them.

    Args:
        features: `(tasks, examples, d)`.
        y: classes `(tasks, examples)`.
        w: `(tasks, examples)`; 0 pads.
    """
    counted = torch.nn.functional.one_hot(y, classes).to(features.dtype) * w.unsqueeze(-1)
    number = counted.sum(1)
    means = counted.mT @ features / number.clamp_min(1).unsqueeze(-1)
    held = (number > 0).to(features.dtype)
    whiten = _whitening(features, means, y, w, degrees=w.sum() - held.sum())
    fleet = (means * held.unsqueeze(-1)).sum(0) / held.sum(0).clamp_min(1).unsqueeze(-1)
    somewhere = held.sum(0) > 0
    fleet = torch.where(somewhere.unsqueeze(-1), fleet, fleet[somewhere].mean(0))
    stray = ((means - fleet) * held.unsqueeze(-1)) @ whiten.T
    spread = _spread(stray, held, number)
    dimensions = features.shape[-1]
    return {
        "projection": whiten,
        "mean": fleet @ whiten.T,
        "factor": torch.linalg.cholesky(STRAY * spread + _FLOOR * torch.eye(classes).to(spread)),
        "scale": features.new_tensor(math.log(0.5)),
        "power": features.new_tensor(0.1 * dimensions),
        "bias": features.new_zeros(classes),
    }


def _whitening(features: Tensor, means: Tensor, y: Tensor, w: Tensor, degrees: Tensor) -> Tensor:
    """A `(d, d)` with A S A' = I for the shrunk within-class covariance S."""
    own = torch.gather(means, 1, y.unsqueeze(-1).expand(-1, -1, features.shape[-1]))
    rest = ((features - own) * w.unsqueeze(-1)).flatten(0, 1)
    within = rest.T @ rest / degrees.clamp_min(1)
    eye = torch.eye(len(within), dtype=within.dtype)
    level = within.diagonal().mean().clamp_min(torch.finfo(within.dtype).eps)
    values, vectors = torch.linalg.eigh((1 - SHRINK) * within + SHRINK * level * eye)
    return (vectors / values.sqrt()).T


def _spread(stray: Tensor, held: Tensor, number: Tensor) -> Tensor:
    """Covariance `(C, C)` of class means between tasks, in units of the within-class covariance."""
    pairs = held.T @ held
    raw = torch.einsum("tcr,ter->ce", stray, stray) / pairs.clamp_min(1) / stray.shape[-1]
    noise = (held / number.clamp_min(1)).sum(0) / held.sum(0).clamp_min(1)
    raw = raw - torch.diag(noise)
    tasks = held.sum(0)
    unbiased = tasks / (tasks - 1).clamp_min(1)  # the fleet's mean is of the same tasks
    wider = (unbiased * _unseen(tasks)).sqrt()
    raw = raw * wider.outer(wider)
    known = tasks > 1
    usual = raw.diagonal()[known].clamp_min(_FLOOR).mean() if bool(known.any()) else raw.new_tensor(1.0)
    raw = torch.where(known.outer(known), raw, torch.diag(usual.expand(len(raw))))
    values, vectors = torch.linalg.eigh((raw + raw.T) / 2)
    return (vectors * values.clamp_min(_FLOOR)) @ vectors.T


def _unseen(tasks: Tensor) -> Tensor:
    """How much wider devices to come scatter than the spread of these few tasks says, by their number.

    The variance of Student's predictive law after so many normal observations, (n + 1) / n (n - 1) / (n - 3):
    1.07 for 45 tasks, 1.6 for eight. Of three or fewer it is infinite; they get a few tens, for what two
    or three devices have in common need not be common at all.
    """
    return (tasks + 1) / tasks.clamp_min(1) * (tasks - 1).clamp_min(1) / (tasks - 3).clamp_min(0.1)
