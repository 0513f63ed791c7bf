"""A challenger against the champion, on the same episodes of the same held-out tasks.

What a retrained start has to show before it is registered. It is a screen, not the verdict: that falls in
the field, against a control cohort.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from acclimate.errors import ModelError
from acclimate.evaluation.contenders import Descent, higher_is_better, measure
from acclimate.evaluation.report import Curve, Evaluation
from acclimate.evaluation.statistics import gain_bounds, gains_of, interval, summarize
from acclimate.finite import finite_or_none
from acclimate.learners import Learner, MetaParams
from acclimate.tasks import Sampler


@dataclass(frozen=True)
class Requirement:
    """What lets a challenger through.

    Attributes:
        minimum_gain: over the champion, mean over tasks, in units of the metric; below zero tolerates a loss.
        proven: whether the whole 95 % interval of the gain has to reach it, or the mean alone.
    """

    minimum_gain: float = 0.0
    proven: bool = False


@dataclass(frozen=True)
class Challenge:
    """How a challenger did.

    Attributes:
        passed: whether it meets the requirement.
        reason: the figures in a sentence.
        metric: what is compared.
        shots: support examples each start adapted on.
        tasks: held-out tasks.
        challenger: the challenger's mean over tasks, after its own adaptation.
        champion: the champion's.
        gain: mean over tasks of the difference, above zero where the challenger is better.
        low: lower end of its two-sided 95 % interval, paired by task.
        high: its upper end.
        tasks_better: on how many tasks the challenger is at least as good.
        worst_task: where it lost most, or gained least.
        worst_gain: how much that was.
    """

    passed: bool
    reason: str
    metric: str
    shots: int
    tasks: int
    challenger: float
    champion: float
    gain: float
    low: float
    high: float
    tasks_better: int
    worst_task: str
    worst_gain: float

    def as_json(self) -> dict[str, Any]:
        """As JSON types; what overflowed is null."""
        fields: dict[str, Any] = finite_or_none(asdict(self))
        return fields


def measure_start(
    learner: Learner, meta: MetaParams, test: Callable[[int], Sampler], *, shots: int, steps: int, draws: int
) -> Evaluation:
    """One start alone on held-out tasks, as its own policy adapts it: no baselines, one point.

    Args:
        test: the sampler of the held-out tasks, by shots.
        shots: support examples.
        steps: gradient steps of its policy.
        draws: episodes of each task; the same draws are the same episodes for every start.
    """
    episodes = [test(shots).every_task(draw) for draw in range(draws)]
    tasks = episodes[0].task_ids
    loss = learner.loss
    better = higher_is_better(loss)
    (values,) = measure(Descent("meta", learner, meta, ({},), (steps,)), loss, episodes, {})
    return Evaluation(
        metric=loss.metric_name,
        higher_is_better=better,
        policy_shots=shots,
        policy_steps=steps,
        tasks=tasks,
        draws=draws,
        seeds=(),
        rates_chosen_on="no baseline was measured",
        curves=(Curve("meta", shots, (steps,), (summarize(values, tasks, better),), 0),),
        comparisons=(),
    )


def challenge(challenger: Evaluation, champion: Evaluation, requirement: Requirement) -> Challenge:
    """Compare two evaluations of the same held-out episodes, at the policy's shots.

    Raises:
        ModelError: they measured different tasks, draws, shots or metrics, so no difference means anything.
    """
    for what in ("tasks", "draws", "policy_shots", "metric"):
        ours, theirs = getattr(challenger, what), getattr(champion, what)
        if ours != theirs:
            raise ModelError(
                f"{what} differ, {ours} for the challenger and {theirs} for the champion: measure both again "
                "on the same held-out tasks"
            )
    shots = challenger.policy_shots
    new, old = challenger.curve("meta", shots).judged, champion.curve("meta", shots).judged
    better = challenger.higher_is_better
    gains = gains_of(new.values, old.values, better)
    gain, (low, high) = float(gains.mean()), interval(gains, bounds=gain_bounds(better))
    reached = low if requirement.proven else gain
    # A figure that overflowed is no gain: comparisons with NaN are false.
    passed = bool(reached >= requirement.minimum_gain)
    worst = int(np.nan_to_num(gains, nan=-np.inf).argmin())
    asked = "the whole interval" if requirement.proven else "the mean"
    reason = (
        f"{challenger.metric} {new.mean:.4g} against {old.mean:.4g}: gain {gain:+.3g}, 95 % interval "
        f"{low:+.3g} to {high:+.3g} over {len(gains)} held-out tasks; {asked} "
        f"{'reaches' if passed else 'does not reach'} {requirement.minimum_gain:+g}"
    )
    return Challenge(
        passed=passed,
        reason=reason,
        metric=challenger.metric,
        shots=shots,
        tasks=len(gains),
        challenger=new.mean,
        champion=old.mean,
        gain=gain,
        low=low,
        high=high,
        tasks_better=int((gains >= 0).sum()),
        worst_task=challenger.tasks[worst],
        worst_gain=float(gains[worst]),
    )
