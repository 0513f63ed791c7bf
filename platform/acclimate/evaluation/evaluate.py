"""Measure every contender on the same held-out episodes, at settings chosen on other tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acclimate.errors import in_a_line
from acclimate.evaluation.contenders import Choice, Contender, Start, choose, higher_is_better, values_of
from acclimate.evaluation.details import Words, details_of
from acclimate.evaluation.lineup import EvaluationProtocol, Trained, lineup
from acclimate.evaluation.report import Comparison, Curve, Evaluation
from acclimate.evaluation.statistics import Values, gain_bounds, gains_of, interval, mean_of, summarize
from acclimate.learners import Loss
from acclimate.tasks import Episodes, Sampler

Samplers = Callable[[int], Sampler]
"""The sampler of some tasks, by shots."""

CHOOSING_DRAWS = 3  # episodes of each validation task


@dataclass(frozen=True)
class Trial:
    """Some trained starts and the tasks to choose settings on.

    Attributes:
        trained: what was trained, and not on these tasks.
        tasks: their samplers.
    """

    trained: Trained
    tasks: Samplers


@dataclass(frozen=True)
class HeldOut:
    """The tasks that judge.

    Attributes:
        tasks: their samplers.
        groups: the device, person or site of each task by its id; a task that is not named is its own.
        words: what outputs mean to people.
        days: of recordings that one of them has, the median; None where no clock tells.
    """

    tasks: Samplers
    groups: Mapping[str, str] = field(default_factory=dict)
    words: Words = field(default_factory=Words)
    days: float | None = None


def evaluate(
    protocol: EvaluationProtocol,
    trained: Sequence[Trained],
    held_out: HeldOut,
    trials: Sequence[Trial],
    chosen_on: str,
    on_progress: Callable[[str, int, int], None],
    wanted: Callable[[Start], bool] = lambda start: True,
) -> Evaluation:
    """Adaptation curves of the meta-learned start and its rivals on held-out tasks.

    Everyone is judged on the same budget, the policy's gradient steps, and within it at the setting and the
    number of steps, none included, that do best on the tasks of `trials`, for each number of shots.

    Args:
        trained: one entry for each training seed; a task's figure is the mean over them.
        trials: where settings are chosen, with what was trained without those tasks.
        chosen_on: those tasks in words, for the report.
        on_progress: called with (what, done, total).
        wanted: which contenders are measured, all by default.

    Returns:
        The curves of everybody; a rival that raises, whatever it is made of, ends nobody else's measurement
        and is named in `unmeasured`.
    """
    loss = trained[0].loss
    better = higher_is_better(loss)
    fields = [lineup(one, protocol, wanted) for one in trained]
    trial_fields = [
        _known(trial.trained, trained, fields) or lineup(trial.trained, protocol, wanted) for trial in trials
    ]
    total = len(protocol.shots) * len(fields[0])
    curves: list[Curve] = []
    failed: dict[Start, str] = {}
    tasks: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    for shots in protocol.shots:
        episodes = [held_out.tasks(shots).every_task(draw) for draw in range(protocol.draws)]
        tasks = episodes[0].task_ids
        groups = tuple(held_out.groups.get(task, task) for task in tasks)
        choosing = [
            [trial.tasks(shots).every_task(draw) for draw in range(CHOOSING_DRAWS)] for trial in trials
        ]
        for start in fields[0]:
            on_progress(f"{shots}-shot, {start}", len(curves), total)
            contenders = [each[start] for each in fields]
            paired = [(each[start], some) for each, some in zip(trial_fields, choosing, strict=True)]
            try:
                choice = choose(paired, loss, protocol.policy_steps)
                curves.append(_curve(contenders, choice, shots, episodes, groups, loss, held_out.words))
            except Exception as error:
                if start == "meta" or isinstance(error, MemoryError | OSError):  # of this machine, now
                    raise
                failed.setdefault(start, in_a_line(error))
    curves = [curve for curve in curves if curve.start not in failed]  # all numbers of shots, or none
    on_progress("curves", total, total)
    return Evaluation(
        metric=loss.metric_name,
        higher_is_better=better,
        policy_shots=protocol.policy_shots,
        policy_steps=protocol.policy_steps,
        tasks=tasks,
        draws=protocol.draws,
        seeds=tuple(one.seed for one in trained),
        rates_chosen_on=chosen_on,
        curves=tuple(curves),
        comparisons=tuple(comparisons(curves, better, groups)),
        groups=groups,
        days=held_out.days,
        unmeasured=failed,
    )


def comparisons(
    curves: Sequence[Curve], higher_is_better: bool, groups: Sequence[str]
) -> Iterator[Comparison]:
    """The meta-learned start against every other contender at the judged points, paired by task."""
    bounds = gain_bounds(higher_is_better)
    for own in (curve for curve in curves if curve.start == "meta"):
        for other in (curve for curve in curves if curve.shots == own.shots and curve.start != "meta"):
            gains = gains_of(own.judged.values, other.judged.values, higher_is_better)
            low, high = interval(gains, groups, bounds=bounds)
            yield Comparison(other.start, own.shots, mean_of(gains), low, high, int((gains >= 0).sum()))


def _known(
    one: Trained, trained: Sequence[Trained], fields: Sequence[dict[Start, Contender]]
) -> dict[Start, Contender] | None:
    """The line-up of what was trained, where it was made already."""
    return next((field for each, field in zip(trained, fields, strict=True) if each is one), None)


def _curve(
    contenders: Sequence[Contender],
    choice: Choice,
    shots: int,
    episodes: Sequence[Episodes],
    groups: Sequence[str],
    loss: Loss,
    words: Words,
) -> Curve:
    rows: list[Values] = []
    details: list[dict[str, float]] = []
    for contender in contenders:
        judged = []
        for each in episodes:
            outputs = contender.outputs(each, choice.setting)
            rows.append(values_of(outputs, loss, each))
            judged.append(outputs[choice.position])
        details.append(details_of(judged, episodes, words))
    better = higher_is_better(loss)
    tasks = episodes[0].task_ids
    # By contender and episode, (contenders, draws, steps, tasks).
    every = np.array(rows).reshape(len(contenders), len(episodes), -1, len(tasks))
    return Curve(
        start=contenders[0].start,
        shots=shots,
        steps=contenders[0].steps,
        points=tuple(summarize(row, tasks, better, groups) for row in np.mean(rows, axis=0)),
        chosen=choice.position,
        setting=dict(choice.setting),
        validation=choice.value,
        details={name: float(np.mean([each[name] for each in details])) for name in details[0]},
        draws=tuple(map(tuple, every.mean(axis=0)[:, choice.position].tolist())),
    )
