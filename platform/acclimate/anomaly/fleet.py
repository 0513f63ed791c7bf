"""The fleet's normal, from the normal windows of training devices; settings chosen by what they predict.

The prior's weight, its shrinkage and how heavy tails are, are those under which windows that a device had
later are most likely, each device judged by a prior of the others and its own earlier windows. The threshold
is the lowest one that keeps the budget of false alarms on those same devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acclimate.anomaly.alarms import Budget, threshold_within
from acclimate.anomaly.windows import Floats, Mask, Windows
from acclimate.errors import DataError
from acclimate_device.normality import Normality, Prior, State, tailed

WEIGHTS = (3.0, 10.0, 60.0, 200.0, 1000.0)
SHRINKAGES = (0.001, 0.005, 0.02, 0.1)
BETWEEN_SHRINK = 0.5  # of the covariance of devices' means, towards its diagonal: devices are few
FLOOR = 0.05  # of a feature's deviation, in normalized units: what stood still in training may move a little
KNEES = (0.3, 1.0, 1.5, 3.0, 10.0, 30.0, 100.0)
TAILS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
_ROUNDS = 3
MEMORY = 10.0  # times the windows a device adapts on


Setting = tuple[float, float, float, float]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FleetNormal:
    """What was fitted.

    Attributes:
        prior: with its threshold.
        density: mean log density of later normal windows of training devices, by (weight, shrinkage, tail,
            knee).
    """

    prior: Prior
    density: dict[Setting, float]


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
    on_progress: Progress = lambda what, done, total: None,
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
    density = _densities({index: devices[index] for index in judged}, moments, own, on_progress)
    weight, shrink, tail, knee = max(density, key=lambda key: density[key])

    def prior_of(some: Sequence[_Moments]) -> Prior:
        return replace(_prior(some, own, weight, shrink), tail=tail, knee=knee)

    unlike = [(prior_of(_others(moments, index)), devices[index]) for index in judged]
    threshold = _threshold(unlike, own, budget, on_progress)
    prior = prior_of([moments[index] for index in usable])
    return FleetNormal(replace(prior, threshold=threshold, quiet=float(budget.quiet)), density)


def _densities(
    devices: Mapping[int, Windows], moments: dict[int, _Moments], own: int, on_progress: Progress
) -> dict[Setting, float]:
    known = {index: _learned(device, own) for index, device in devices.items()}
    density: dict[Setting, float] = {}
    grid = [(weight, shrink) for weight in WEIGHTS for shrink in SHRINKAGES]
    for done, (weight, shrink) in enumerate(grid):
        on_progress("choosing the prior's weight", done, len(grid))
        likely = [
            _log_densities(
                Normality(_prior(_others(moments, index), own, weight, shrink), known[index]), device
            )
            for index, device in devices.items()
        ]
        density |= {
            (weight, shrink, tail, knee): float(np.mean([each[tail, knee] for each in likely]))
            for tail, knee in likely[0]
        }
    return density


def _threshold(
    devices: Sequence[tuple[Prior, Windows]], own: int, budget: Budget, on_progress: Progress
) -> float:
    """By devices and their priors; what alarms counts less in learning, so a device's normal hangs on it."""
    threshold, total = math.inf, _ROUNDS * len(devices)
    for done in range(_ROUNDS):
        scored: list[tuple[Floats, Mask]] = []
        for prior, device in devices:
            on_progress("setting the threshold", len(scored) + done * len(devices), total)
            model = Normality(replace(prior, threshold=threshold))
            model.learn_many(device.own(own))
            scored.append((model.scores(device.later), device.later_normal))
        threshold = threshold_within(scored, budget)
    on_progress("setting the threshold", total, total)
    return threshold


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


def _others(moments: dict[int, _Moments], index: int) -> list[_Moments]:
    return [moments[other] for other in moments if other != index]


def _learned(device: Windows, own: int) -> State:
    """What a device knows after its own windows; while nothing alarms, no prior has a part in it."""
    rows = device.own(own)
    if not len(rows):
        return State.empty(device.features.shape[1])
    mean = rows.mean(0)
    return State(float(len(rows)), mean, (rows - mean).T @ (rows - mean))


def _log_densities(model: Normality, device: Windows) -> dict[tuple[float, float], float]:
    """Mean log density of later normal windows, by (tail, knee)."""
    residuals = model.residuals(device.later[device.later_normal])
    found: dict[tuple[float, float], float] = {}
    for knee in KNEES:
        below = float(tailed(residuals, 1.0, knee).mean())
        for tail in TAILS:
            mode = math.lgamma((tail + 1) / 2) - math.lgamma(tail / 2) - math.log(math.pi * knee) / 2
            found[tail, knee] = residuals.shape[1] * mode - (tail + 1) / 2 * below - model.log_volume
    return found
