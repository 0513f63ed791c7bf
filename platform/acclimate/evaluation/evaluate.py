"""Measure every start on the same held-out episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acclimate.evaluation.contenders import Contender, Start, best_rate, higher_is_better, measure, rebuilt
from acclimate.evaluation.report import Comparison, Curve, Evaluation
from acclimate.evaluation.statistics import interval, summarize
from acclimate.learners import Learner, MetaParams
from acclimate.tasks import Episodes, Sampler


@dataclass(frozen=True)
class Trained:
    """What one training seed made: every start that is compared.

    Attributes:
        seed: the training seed.
        learner: the recipe's, which adapts the meta-learned start.
        meta: meta-parameters after training.
        untrained: the network's random start, as meta-parameters of a learner without learned rates.
        joint: parameters of the joint model, likewise; None where one model for all tasks makes no sense.
    """

    seed: int
    learner: Learner
    meta: MetaParams
    untrained: MetaParams
    joint: MetaParams | None


@dataclass(frozen=True)
class EvaluationProtocol:
    """What is measured; see the recipe's `evaluation` section.

    Attributes:
        shots: a curve each.
        steps: gradient steps of the curves, ascending.
        long_steps: a further point, far beyond what a device should have to do; nobody is judged at it.
        draws: episodes of each task.
        rates: step sizes tried for the baselines.
        policy_shots: of the adaptation policy.
        policy_steps: of the adaptation policy.
    """

    shots: tuple[int, ...]
    steps: tuple[int, ...]
    long_steps: int
    draws: int
    rates: tuple[float, ...]
    policy_shots: int
    policy_steps: int


Samplers = Callable[[int], Sampler]
"""The sampler of some tasks, by shots."""


def evaluate(
    protocol: EvaluationProtocol,
    trained: Sequence[Trained],
    test: Samplers,
    validation: Samplers | None,
    on_progress: Callable[[str, int, int], None],
) -> Evaluation:
    """Adaptation curves of the meta-learned start and the baselines.

    Everyone is judged on the same budget, the policy's gradient steps. Within it a baseline may take any of
    `rates` and any of the measured numbers of steps: the pair that does best on the validation tasks, from
    the first seed, counts. Without validation tasks it is the best on the test tasks themselves, which
    favours the baselines.

    Args:
        trained: one entry for each training seed; a task's figure is the mean over them.
        test: of held-out tasks.
        validation: of the tasks to choose the baselines' rates on.
        on_progress: called with (what, done, total).
    """
    curves: list[Curve] = []
    tasks: tuple[str, ...] = ()
    better = higher_is_better(trained[0].learner)
    for number, shots in enumerate(protocol.shots):
        on_progress(f"{shots}-shot curves", number, len(protocol.shots))
        episodes = [test(shots).every_task(draw) for draw in range(protocol.draws)]
        tasks = episodes[0].task_ids
        choosing = [validation(shots).every_task(0)] if validation else episodes
        for plan in _plans(protocol, trained[0], choosing):
            values = np.mean([measure(plan.of(one), episodes, plan.steps) for one in trained], axis=0)
            points = tuple(summarize(row, tasks, better) for row in values)
            curves.append(Curve(plan.start, shots, plan.steps, points, plan.chosen, plan.inner_lr))
    on_progress("curves", len(protocol.shots), len(protocol.shots))
    return Evaluation(
        metric=trained[0].learner.loss.metric_name,
        higher_is_better=better,
        policy_shots=protocol.policy_shots,
        policy_steps=protocol.policy_steps,
        tasks=tasks,
        draws=protocol.draws,
        seeds=tuple(one.seed for one in trained),
        rates_chosen_on="validation tasks" if validation else "the test tasks, in the baselines' favour",
        curves=tuple(curves),
        comparisons=tuple(_comparisons(curves, better)),
    )


@dataclass(frozen=True)
class _Plan:
    """How one start is measured: its steps, the one it is judged at, and its step size if one was chosen."""

    start: Start
    steps: tuple[int, ...]
    chosen: int
    inner_lr: float | None

    def of(self, trained: Trained) -> Contender:
        contender = _contender(self.start, trained)
        return contender if self.inner_lr is None else contender.with_rate(self.inner_lr)


def _plans(protocol: EvaluationProtocol, trained: Trained, choosing: Sequence[Episodes]) -> Iterator[_Plan]:
    steps = tuple(sorted({*protocol.steps, protocol.policy_steps, protocol.long_steps}))
    yield _Plan("meta", steps, steps.index(protocol.policy_steps), None)
    baselines: tuple[Start, ...] = ("device_only",)
    if trained.joint is not None:
        yield _Plan("joint", (0,), 0, None)
        baselines = ("joint_finetuned", "device_only")
    for start in baselines:
        affordable = [step for step in steps if 0 < step <= protocol.policy_steps]  # 0 is the joint model
        rate, judged_at = best_rate(_contender(start, trained), protocol.rates, choosing, affordable)
        yield _Plan(start, steps, steps.index(judged_at), rate)


def _contender(start: Start, trained: Trained) -> Contender:
    if start == "meta":
        return Contender(trained.learner, trained.meta)
    plain = replace(trained.learner.config, algorithm="joint", heads="auto", trainable="all", serial=False)
    meta = trained.untrained if start == "device_only" else trained.joint
    assert meta is not None  # `_plans` names the joint starts only where there is a joint model
    return Contender(rebuilt(trained.learner, plain), meta)


def _comparisons(curves: Sequence[Curve], higher_is_better: bool) -> Iterator[Comparison]:
    sign = 1.0 if higher_is_better else -1.0
    for meta in (curve for curve in curves if curve.start == "meta"):
        for other in (curve for curve in curves if curve.shots == meta.shots and curve is not meta):
            gains = sign * (np.array(meta.judged.values) - np.array(other.judged.values))
            low, high = interval(gains)
            yield Comparison(other.start, meta.shots, float(gains.mean()), low, high, int((gains >= 0).sum()))
