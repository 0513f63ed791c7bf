"""Candidates side by side, each judged on every device of the fleet, fold by fold.

Whoever trained on a device is never judged on it: folds are trained apart and their held-out devices put
together. A recommendation is chosen by the validation devices of the folds; held-out devices only judge it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from acclimate.errors import ModelError
from acclimate.evaluation.contenders import Start
from acclimate.evaluation.evaluate import comparisons
from acclimate.evaluation.report import (
    Curve,
    Evaluation,
    label_of,
    metric_name,
    number,
)
from acclimate.evaluation.statistics import gain_bounds, gains_of, interval, mean_of, summarize
from acclimate.evaluation.verdict import Verdict, judge, without_learner
from acclimate.finite import finite_or_none

# Rivals that have a network; `nearest` reads features of the joint model.
_NETWORKS: tuple[Start, ...] = ("joint", "joint_finetuned", "joint_solved", "device_only", "nearest")


@dataclass(frozen=True)
class Entry:
    """One candidate, or one rival.

    Attributes:
        name: for people: `closed-form on mlp`.
        model: its network; empty where it has none.
        learner: its algorithm; empty for a rival.
        start: `meta` for a learner, else which rival.
        mean: the metric over held-out tasks.
        low: lower end of its 95 % interval.
        high: its upper end.
        worst: of the least good task.
        worst_task: its name.
        validation: mean over validation tasks, by which the recommendation is chosen; None if unknown.
        gain: over the best simple rival, mean over held-out tasks, above zero where this one is better.
        gain_low: lower end of its 95 % interval, paired by task.
        gain_high: its upper end.
        failed: why it has no figures; empty where it has.
    """

    name: str
    model: str
    learner: str
    start: Start
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0
    worst: float = 0.0
    worst_task: str = ""
    validation: float | None = None
    gain: float = 0.0
    gain_low: float = 0.0
    gain_high: float = 0.0
    failed: str = ""


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        metric: what is compared.
        higher_is_better: whether more of it is better.
        shots: support examples everybody adapts on.
        tasks: held-out tasks, all folds together.
        devices: held-out devices.
        entries: best first by the held-out mean; failed ones last.
        best_rival: name of the best simple rival, by validation.
        recommended: name of the entry to ship, a simple rival where that is better or enough.
        verdict: on the best learner against all rivals.
    """

    metric: str
    higher_is_better: bool
    shots: int
    tasks: tuple[str, ...]
    devices: int
    entries: tuple[Entry, ...]
    best_rival: str
    recommended: str
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """As JSON types; what overflowed is null."""
        fields: dict[str, Any] = finite_or_none(asdict(self))
        return fields

    def entry(self, name: str) -> Entry:
        """The entry of that name."""
        return next(each for each in self.entries if each.name == name)


Named = tuple[str, str]
"""A candidate: its learner, empty for the rivals of a network, and its network."""


def compared(
    folds: Mapping[Named, Sequence[Evaluation]], failed: Mapping[Named, str], names: Mapping[Named, str]
) -> Compared:
    """Put the folds of every candidate together.

    Args:
        folds: by candidate, the evaluation of every fold, in the same order for all.
        failed: candidates that could not be trained, and why.
        names: of the candidates, for people.

    Raises:
        ModelError: no rival could be measured on any network.
    """
    pooled = {
        (key, curve.start): curve
        for key, evaluations in folds.items()
        for curve in _pooled(evaluations)
        if bool(key[0]) == (curve.start == "meta")
    }
    first = next(iter(folds.values()))
    lacking = [
        ((key, start), why)
        for key, evaluations in folds.items()
        for start, why in _lacking(evaluations).items()
        if bool(key[0]) == (start == "meta")
    ]
    rivals = _best_bodies({each: curve for each, curve in pooled.items() if each[1] != "meta"}, first[0])
    learners = {each: curve for each, curve in pooled.items() if each[1] == "meta"}
    if not rivals:
        raise ModelError(
            "no rival could be measured, and without one nothing can be recommended: "
            + "; ".join(
                [f"{names[key]}: {why}" for key, why in failed.items()]
                + [f"{label_of(first[0], start)}: {why}" for (_, start), why in lacking]
            )
        )
    best_learner = max(learners, key=lambda each: _merit(learners[each], first[0]), default=None)
    best_rival = max(rivals, key=lambda each: _merit(rivals[each], first[0]))
    judged = best_learner or best_rival
    missing = {start: why for (_, start), why in lacking if start not in {each for _, each in rivals}}
    whole = _together(first, pooled[judged], [rivals[each] for each in rivals if each != judged], missing)

    def name(each: tuple[Named, Start]) -> str:
        key, start = each
        if start == "meta":
            return names[key]
        label = label_of(first[0], start)
        return f"{label} on {key[1]}" if start in _NETWORKS else label

    verdict = judge(whole) if learners else without_learner(whole, best_rival[1], name(best_rival))
    entries = [
        _entry(name(each), each, curve, rivals[best_rival], whole)
        for each, curve in {**learners, **rivals}.items()
    ]
    sign = -1.0 if whole.higher_is_better else 1.0
    entries.sort(key=lambda entry: (not math.isfinite(entry.mean), sign * entry.mean))
    entries += [Entry(name(each), each[0][1], each[0][0], each[1], failed=why) for each, why in lacking]
    entries += [Entry(names[key], key[1], key[0], "meta", failed=why) for key, why in failed.items()]
    return Compared(
        metric=whole.metric,
        higher_is_better=whole.higher_is_better,
        shots=whole.policy_shots,
        tasks=whole.tasks,
        devices=whole.devices,
        entries=tuple(entries),
        best_rival=name(best_rival),
        recommended=name(_shipped(verdict, judged, rivals)),
        verdict=verdict,
    )


def compared_table(found: Compared) -> tuple[list[str], list[list[str]]]:
    """Columns and rows, best first; `*` marks what is recommended."""
    unit, scale = (" (points)", 100.0) if found.metric == "accuracy" else ("", 1.0)
    rows = []
    for entry in found.entries:
        if entry.failed:
            rows.append([entry.name, "failed", "", "", entry.failed])
            continue
        mark = " *" if entry.name == found.recommended else ""
        rows.append(
            [
                f"{entry.name}{mark}",
                number(found, entry.mean),
                f"{number(found, entry.low)} to {number(found, entry.high)}",
                f"{number(found, entry.worst)} ({entry.worst_task})",
                "-" if entry.name == found.best_rival else _gain(entry, scale),
            ]
        )
    gain = f"gain over {found.best_rival}{unit}"
    return ["candidate", metric_name(found), "95 % interval", "worst task", gain], rows


def _gain(entry: Entry, scale: float) -> str:
    gain, low, high = (f"{scale * value:+.3g}" for value in (entry.gain, entry.gain_low, entry.gain_high))
    return f"{gain} ({low} to {high})"


def _pooled(evaluations: Sequence[Evaluation]) -> list[Curve]:
    """One point a contender: its judged values of all folds."""
    first = evaluations[0]
    tasks = [task for each in evaluations for task in each.tasks]
    groups = [group for each in evaluations for group in each.groups]
    curves = []
    for start in first.starts:
        of_folds = [each.curve(start, first.policy_shots) for each in evaluations if start in each.starts]
        if len(of_folds) < len(evaluations):
            continue
        values = np.concatenate([curve.judged.values for curve in of_folds])
        # A fold whose validation devices could not be judged, by anybody, chooses nothing.
        chosen = [
            curve.validation
            for curve in of_folds
            if curve.validation is not None or not np.isfinite(curve.judged.mean)
        ]
        known = [value for value in chosen if value is not None]
        curves.append(
            Curve(
                start=start,
                shots=first.policy_shots,
                steps=(0,),
                points=(summarize(values, tasks, first.higher_is_better, groups),),
                chosen=0,
                validation=float(np.mean(known)) if known and len(known) == len(chosen) else None,
                draws=tuple(map(tuple, np.hstack([curve.draws for curve in of_folds]).tolist())),
            )
        )
    return curves


def _lacking(evaluations: Sequence[Evaluation]) -> dict[Start, str]:
    """Who was not measured in every fold, and why: it failed, or it was measured in some only."""
    every = [start for each in evaluations for start in each.starts]
    counts = {start: every.count(start) for start in every}
    only = {
        start: f"measured in {count} of {len(evaluations)} folds only"
        for start, count in counts.items()
        if count < len(evaluations)
    }
    return only | {start: why for each in evaluations for start, why in each.unmeasured.items()}


def _best_bodies(
    rivals: Mapping[tuple[Named, Start], Curve], evaluation: Evaluation
) -> dict[tuple[Named, Start], Curve]:
    """Each rival once: on the network where it does best on the validation tasks."""
    best: dict[Start, tuple[Named, Start]] = {}
    for each, curve in rivals.items():
        known = best.get(each[1])
        if known is None or _merit(curve, evaluation) > _merit(rivals[known], evaluation):
            best[each[1]] = each
    return {each: rivals[each] for each in best.values()}


def _merit(curve: Curve, evaluation: Evaluation) -> float:
    value = curve.judged.mean if curve.validation is None else curve.validation
    value = value if evaluation.higher_is_better else -value
    return value if np.isfinite(value) else -np.inf


def _together(
    folds: Sequence[Evaluation], own: Curve, rivals: Sequence[Curve], missing: Mapping[Start, str]
) -> Evaluation:
    first = folds[0]
    groups = tuple(group for each in folds for group in each.groups)
    curves = [Curve(**{**vars(own), "start": "meta"}), *(curve for curve in rivals if curve.start != "meta")]
    return Evaluation(
        metric=first.metric,
        higher_is_better=first.higher_is_better,
        policy_shots=first.policy_shots,
        policy_steps=first.policy_steps,
        tasks=tuple(task for each in folds for task in each.tasks),
        draws=first.draws,
        seeds=first.seeds,
        rates_chosen_on="the validation devices of each fold",
        curves=tuple(curves),
        comparisons=tuple(comparisons(curves, first.higher_is_better, groups)),
        groups=groups,
        days=_days(folds),
        unmeasured=missing,
    )


def _days(folds: Sequence[Evaluation]) -> float | None:
    """Of recordings that a device has: the median over the folds."""
    known = [each.days for each in folds if each.days is not None]
    return float(np.median(known)) if known else None


def _entry(name: str, each: tuple[Named, Start], curve: Curve, rival: Curve, evaluation: Evaluation) -> Entry:
    (learner, model), start = each
    better = evaluation.higher_is_better
    gains = gains_of(curve.judged.values, rival.judged.values, better)
    low, high = interval(gains, evaluation.groups, bounds=gain_bounds(better))
    point = curve.judged
    return Entry(
        name=name,
        model=model if start in ("meta", *_NETWORKS) else "",
        learner=learner,
        start=start,
        mean=point.mean,
        low=point.low,
        high=point.high,
        worst=point.worst,
        worst_task=point.worst_task,
        validation=curve.validation,
        gain=mean_of(gains),
        gain_low=low,
        gain_high=high,
    )


def _shipped(
    verdict: Verdict, judged: tuple[Named, Start], rivals: Mapping[tuple[Named, Start], Curve]
) -> tuple[Named, Start]:
    """What to ship: the learner; or the rival that is better, or enough."""
    if verdict.ship in ("joint", "rival") or verdict.loses_to is not None:
        return next((each for each in rivals if each[1] == verdict.against), judged)
    return judged
