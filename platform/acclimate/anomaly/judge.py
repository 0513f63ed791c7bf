"""How well anomalies are found on held-out devices, and at what price, beside simpler methods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from acclimate.anomaly.alarms import Budget, false_alarms, found
from acclimate.anomaly.windows import Floats, Mask, Windows
from acclimate_device.normality import Normality, Prior

Method = Literal["adapted", "fleet", "device"]
METHODS: dict[Method, str] = {
    "adapted": "fleet's prior and the device's own windows",
    "fleet": "fleet alone",
    "device": "device alone",
}


@dataclass(frozen=True)
class Judged:
    """One method on one held-out device.

    Attributes:
        average_precision: of windows by score; NaN without both kinds.
        auroc: likewise.
        false_alarms: a device-month.
        found: anomalous stretches with an alarm.
        stretches: anomalous stretches.
    """

    average_precision: float
    auroc: float
    false_alarms: float
    found: int
    stretches: int


def judge(prior: Prior, device: Windows, own: int, budget: Budget) -> dict[Method, Judged]:
    """Every method on one held-out device, after its newest `own` normal windows before the cut.

    The device alone has a prior so weak that it only makes covariances invertible; its threshold is the
    fleet's.
    """
    mine = device.own(own)
    size = len(prior.mean)
    weak = replace(
        prior,
        mean=mine.mean(0) if len(mine) else prior.mean,
        between=1e6 * np.diag(np.diag(prior.within)),
        within=np.diag(mine.var(0) + 1e-3) if len(mine) > 1 else np.eye(size),
        weight=1.0,
        stray=1.0,
    )
    priors: dict[Method, Prior] = {"adapted": prior, "fleet": prior, "device": weak}
    models = {method: Normality(of) for method, of in priors.items()}
    models["adapted"].learn_many(mine)
    models["device"].learn_many(mine)
    return {name: _judged(model, device, budget) for name, model in models.items()}


def _judged(model: Normality, device: Windows, budget: Budget) -> Judged:
    scores, normal = model.scores(device.later), device.later_normal
    threshold = model.prior.threshold
    months = budget.months(int(normal.sum()))
    hit, stretches = found(scores, normal, threshold)
    wrong = false_alarms(scores, normal, threshold, budget.quiet)
    return Judged(
        average_precision=average_precision(scores, ~normal),
        auroc=auroc(scores, ~normal),
        false_alarms=wrong / months if months else float("nan"),
        found=hit,
        stretches=stretches,
    )


def average_precision(scores: Floats, positive: Mask) -> float:
    """Mean of the precision at each positive, in order of falling score; ties count as one step."""
    total = int(positive.sum())
    if total in (0, len(positive)):
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits, last = np.cumsum(positive[order]), np.append(np.diff(scores[order]) != 0, True)
    recall = np.concatenate([[0.0], hits[last] / total])
    precision = hits[last] / (np.flatnonzero(last) + 1)
    return float((np.diff(recall) * precision).sum())


def auroc(scores: Floats, positive: Mask) -> float:
    """Share of pairs of a positive and a negative that are in order (Mann and Whitney)."""
    total, others = int(positive.sum()), int((~positive).sum())
    if not total or not others:
        return float("nan")
    from scipy.stats import rankdata  # a second of imports, for one kind of data

    ranks = rankdata(scores)
    return float((ranks[positive].sum() - total * (total + 1) / 2) / (total * others))
