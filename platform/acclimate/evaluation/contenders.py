"""Who is compared: a start and the way it adapts, measured on the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from acclimate.evaluation.statistics import Values
from acclimate.learners import Learner, LearnerConfig, MetaParams, build_learner, weighted_mean
from acclimate.tasks import Episodes

Start = Literal["meta", "joint", "joint_finetuned", "device_only"]
LABELS: dict[Start, str] = {
    "meta": "meta-learned start",
    "joint_finetuned": "joint + fine-tuning",
    "joint": "joint model",
    "device_only": "device only",
}


@dataclass(frozen=True)
class Contender:
    """A start, and the learner whose inner loop adapts it."""

    learner: Learner
    meta: MetaParams

    def with_rate(self, inner_lr: float) -> Contender:
        """The same start, adapted with another step size."""
        config = replace(self.learner.config, inner_lr=inner_lr)
        return replace(self, learner=rebuilt(self.learner, config))


def rebuilt(learner: Learner, config: LearnerConfig) -> Learner:
    """The learner of another configuration for the same network and loss."""
    return build_learner(config, learner.model, learner.loss)


def higher_is_better(learner: Learner) -> bool:
    """Whether more of the learner's metric is better."""
    return learner.loss.metric_name == "accuracy"


def measure(contender: Contender, episodes: Sequence[Episodes], steps: Sequence[int]) -> Values:
    """The query metric after each number of adaptation steps, `(steps, tasks)`, averaged over episodes."""
    return np.mean([_measure_once(contender, each, steps) for each in episodes], axis=0)


def best_rate(
    contender: Contender, rates: Sequence[float], episodes: Sequence[Episodes], steps: Sequence[int]
) -> tuple[float, int]:
    """The step size whose best mean over tasks is best, and the number of steps where that was reached.

    Step sizes at which the parameters overflow lose.
    """
    sign = 1.0 if higher_is_better(contender.learner) else -1.0
    means = np.array(
        [sign * measure(contender.with_rate(rate), episodes, steps).mean(axis=1) for rate in rates]
    )
    means = np.where(np.isfinite(means), means, -np.inf)
    rate, position = np.unravel_index(int(means.argmax()), means.shape)
    return rates[int(rate)], steps[int(position)]


def _measure_once(contender: Contender, episodes: Episodes, steps: Sequence[int]) -> Values:
    learner = contender.learner
    x, y, w = episodes.query
    trajectory = learner.adapt(contender.meta, episodes.support, max(steps))
    metric = learner.loss.metric
    points = [trajectory[min(step, len(trajectory) - 1)] for step in steps]  # a closed form has one step
    rows = [weighted_mean(metric(learner.predict(point, x), y), w) for point in points]
    return torch.stack(rows).double().numpy()
