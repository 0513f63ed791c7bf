"""The fleet's normal, from the normal windows of training devices; settings chosen by what they predict.

The prior's weight and shrinkage are those under which windows that a device had later are most likely, each
device judged by a prior of the others and its own earlier windows. The threshold is the lowest one that keeps
the budget of false alarms on those same devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acclimate.anomaly.alarms import Budget, threshold_within
from acclimate.anomaly.windows import Floats, Windows
from acclimate.errors import DataError
from acclimate_device.normality import Normality, Prior

WEIGHTS = (10.0, 60.0, 200.0, 1000.0)
SHRINKAGES = (0.001, 0.005, 0.02, 0.1)
BETWEEN_SHRINK = 0.5  # of the covariance of devices' means, towards its diagonal: devices are few
FLOOR = 0.05  # of a feature's deviation, in normalized units: what stood still in training may move a little
MEMORY = 10.0  # times the windows a device adapts on


@dataclass(frozen=True)
class FleetNormal:
    """What was fitted.

    Attributes:
        prior: with its threshold.
        density: mean log density of later normal windows of training devices, by (weight, shrinkage).
    """

    prior: Prior
    density: dict[tuple[float, float], float]


@dataclass(frozen=True)
class _Moments:
    """Of one device's normal windows."""

    mean: Floats
    covariance: Floats
    stray: float


def fit(
    devices: Sequence[Windows],
    own: int,
    budget: Budget,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> FleetNormal:
    """Fit the fleet's prior and threshold.

    Args:
        devices: training devices.
        own: windows of its own that a device adapts on.
        on_progress: told (what, done, total).

    Raises:
        DataError: fewer than two devices have two normal windows for each feature, or none has any after the
            cut.
    """
    normal = [device.features[device.normal] for device in devices]
    usable = [index for index, rows in enumerate(normal) if len(rows) > 1]
    if len(usable) < 2:
        raise DataError(
            f"{len(usable)} training device(s) have normal windows; two are needed to know how devices differ"
        )
    moments = {index: _moments(normal[index], own) for index in usable}
    judged = [index for index in usable if (devices[index].later_normal).sum() > 1]
    if not judged:
        raise DataError(
            "no training device has normal windows after the cut to set the threshold by: lower "
            "episodes.support_fraction"
        )
    density: dict[tuple[float, float], float] = {}
    grid = [(weight, shrink) for weight in WEIGHTS for shrink in SHRINKAGES]
    for done, (weight, shrink) in enumerate(grid):
        on_progress("choosing the prior's weight", done, len(grid))
        likely = [
            _log_density(_adapted(moments, index, devices[index], own, weight, shrink), devices[index])
            for index in judged
        ]
        density[weight, shrink] = float(np.mean(likely))
    weight, shrink = max(density, key=lambda key: density[key])
    scored = []
    for done, index in enumerate(judged):
        on_progress("setting the threshold", done, len(judged))
        model = _adapted(moments, index, devices[index], own, weight, shrink)
        scored.append((model.scores(devices[index].later), devices[index].later_normal))
    on_progress("setting the threshold", len(judged), len(judged))
    prior = _prior([moments[index] for index in usable], own, weight, shrink)
    threshold = threshold_within(scored, budget)
    return FleetNormal(replace(prior, threshold=threshold, quiet=float(budget.quiet)), density)


def _moments(rows: Floats, own: int) -> _Moments:
    covariance = np.cov(rows.T).reshape(rows.shape[1], rows.shape[1])
    blocks = len(rows) // own
    stray = np.nan
    if blocks >= 2:
        means = rows[: blocks * own].reshape(blocks, own, -1).mean(1)
        stray = float(own * np.mean(means.var(0, ddof=1) / np.maximum(np.diag(covariance), FLOOR**2)))
    return _Moments(rows.mean(0), covariance, stray)


def _prior(devices: Sequence[_Moments], own: int, weight: float, shrink: float) -> Prior:
    means = np.stack([device.mean for device in devices])
    within = np.mean([device.covariance for device in devices], 0)
    within[np.diag_indices_from(within)] = np.maximum(np.diag(within), FLOOR**2)
    spread = np.cov(means.T).reshape(within.shape)
    diagonal = np.diag(np.diag(spread) + 1e-3 * np.diag(within))
    stray = [device.stray for device in devices if np.isfinite(device.stray)]
    return Prior(
        mean=means.mean(0),
        between=(1 - BETWEEN_SHRINK) * spread + BETWEEN_SHRINK * diagonal,
        within=within,
        weight=weight,
        stray=float(np.clip(np.mean(stray) if stray else own, 1.0, own)),
        shrink=shrink,
        memory=MEMORY * own,
    )


def _adapted(
    moments: dict[int, _Moments], index: int, device: Windows, own: int, weight: float, shrink: float
) -> Normality:
    """A training device that a prior of the others met."""
    others = [moments[other] for other in moments if other != index]
    model = Normality(_prior(others, own, weight, shrink))
    model.learn_many(device.own(own))
    return model


def _log_density(model: Normality, device: Windows) -> float:
    """Mean log density of later normal windows, up to a constant."""
    scores = model.scores(device.later[device.later_normal])
    return float(-scores.mean() - model.log_volume)
