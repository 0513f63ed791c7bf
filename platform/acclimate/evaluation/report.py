"""The evaluation as data: adaptation curves on held-out tasks, and what they add up to.

As JSON it travels with every registered version; `format` changes when a field changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from acclimate.evaluation.contenders import LABELS, Start
from acclimate.evaluation.statistics import Summary

FORMAT = 1


@dataclass(frozen=True)
class Curve:
    """One start adapting on held-out tasks.

    Attributes:
        start: `meta`, `joint`, `joint_finetuned` or `device_only`.
        shots: support examples of each class, or in all.
        steps: gradient steps, ascending.
        points: the metric after each of `steps`.
        chosen: position in `steps` to be judged at: the policy's for `meta`, the best within the same budget
            for the baselines.
        inner_lr: step size chosen for a baseline's adaptation; None elsewhere.
    """

    start: Start
    shots: int
    steps: tuple[int, ...]
    points: tuple[Summary, ...]
    chosen: int
    inner_lr: float | None = None

    @property
    def judged(self) -> Summary:
        """The point that counts."""
        return self.points[self.chosen]


@dataclass(frozen=True)
class Comparison:
    """The meta-learned start against a baseline, paired by task.

    Attributes:
        against: the baseline's start.
        shots: as of both curves.
        gain: mean over tasks, above zero where the meta-learned start is better.
        low: lower end of its two-sided 95 % interval.
        high: its upper end.
        tasks_better: on how many tasks the meta-learned start is at least as good.
    """

    against: Start
    shots: int
    gain: float
    low: float
    high: float
    tasks_better: int


@dataclass(frozen=True)
class Evaluation:
    """Adaptation curves of every start.

    Attributes:
        metric: `accuracy`, `mse` or `mae`; errors are in units of the normalized target.
        higher_is_better: whether more of it is better.
        policy_shots: of the adaptation policy.
        policy_steps: of the adaptation policy.
        tasks: held-out tasks, in the order of every `values`.
        draws: episodes of each.
        seeds: training seeds.
        rates_chosen_on: which tasks the baselines' step sizes were chosen on.
        curves: by start and shots.
        comparisons: at the judged points.
    """

    metric: str
    higher_is_better: bool
    policy_shots: int
    policy_steps: int
    tasks: tuple[str, ...]
    draws: int
    seeds: tuple[int, ...]
    rates_chosen_on: str
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def shots(self) -> tuple[int, ...]:
        """The numbers of shots there are curves for, ascending."""
        return tuple(sorted({curve.shots for curve in self.curves}))

    @property
    def starts(self) -> tuple[Start, ...]:
        """The starts that were compared, in the order people read them."""
        present = {curve.start for curve in self.curves}
        return tuple(start for start in LABELS if start in present)

    def curve(self, start: Start, shots: int) -> Curve:
        """The curve of a start."""
        return next(curve for curve in self.curves if (curve.start, curve.shots) == (start, shots))

    def figures(self) -> dict[str, float]:
        """The judged mean and worst of every curve by name, for a run's page."""
        named: dict[str, float] = {}
        for curve in self.curves:
            key = f"{self.metric}.{curve.start}.{curve.shots}_shot"
            named |= {key: curve.judged.mean, f"{key}.worst": curve.judged.worst}
        return named

    def as_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {"format": FORMAT, **asdict(self)}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Evaluation:
        """Read what `as_json` gave.

        Raises:
            ValueError: it has another format.
        """
        if document.get("format") != FORMAT:
            raise ValueError(f"evaluation format {document.get('format')!r}: this version reads {FORMAT}")
        fields = {key: value for key, value in document.items() if key != "format"}
        fields["curves"] = tuple(_curve(each) for each in fields["curves"])
        fields["comparisons"] = tuple(Comparison(**each) for each in fields["comparisons"])
        return Evaluation(**{**fields, "tasks": tuple(fields["tasks"]), "seeds": tuple(fields["seeds"])})


def table(evaluation: Evaluation, shots: int) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the curves at `shots`, a column for each number of steps; `*` marks the judged."""
    steps = sorted({step for curve in evaluation.curves if curve.shots == shots for step in curve.steps})
    rows = []
    for start in evaluation.starts:
        curve = evaluation.curve(start, shots)
        cells = dict.fromkeys(steps, "")
        for position, (step, point) in enumerate(zip(curve.steps, curve.points, strict=True)):
            cells[step] = _cell(evaluation, point.mean) + ("*" if position == curve.chosen else "")
        rows.append([LABELS[start], *cells.values(), _cell(evaluation, curve.judged.worst)])
    return ["start", *map(str, steps), "worst*"], rows


def headline(evaluation: Evaluation, shots: int) -> str:
    """The result in one sentence."""
    curve = evaluation.curve("meta", shots)
    half = _number(evaluation, (curve.judged.high - curve.judged.low) / 2)
    others = ", ".join(
        f"{LABELS[start]} {_number(evaluation, evaluation.curve(start, shots).judged.mean)}"
        for start in evaluation.starts
        if start != "meta"
    )
    return (
        f"{shots} {'shots' if shots > 1 else 'shot'}, {curve.steps[curve.chosen]} gradient steps: held-out "
        f"tasks reach {evaluation.metric} {_number(evaluation, curve.judged.mean)} ±{half} ({others})"
    )


def comparison_sentence(evaluation: Evaluation, comparison: Comparison) -> str:
    """One comparison in a sentence."""
    unit, scale = (" points", 100.0) if evaluation.metric == "accuracy" else ("", 1.0)
    low, gain, high = (
        f"{scale * value:+.3g}" for value in (comparison.low, comparison.gain, comparison.high)
    )
    return (
        f"against {LABELS[comparison.against]}: {gain}{unit} (95 % interval {low} to {high}), "
        f"at least as good on {comparison.tasks_better} of {len(evaluation.tasks)} tasks"
    )


def worst_sentence(evaluation: Evaluation, shots: int) -> str:
    """The least good task of the meta-learned start, beside what the baselines make of their least good."""
    worst = ", ".join(
        f"{LABELS[start]} {_number(evaluation, judged.worst)} ({judged.worst_task})"
        for start in evaluation.starts
        for judged in (evaluation.curve(start, shots).judged,)
    )
    return f"worst task: {worst}"


def _number(evaluation: Evaluation, value: float) -> str:
    return f"{100 * value:.1f}%" if evaluation.metric == "accuracy" else f"{value:.3g}"


def _cell(evaluation: Evaluation, value: float) -> str:
    return _number(evaluation, value).removesuffix("%")  # said once, above the table


def _curve(fields: Mapping[str, Any]) -> Curve:
    return Curve(
        **{
            **fields,
            "steps": tuple(fields["steps"]),
            "points": tuple(Summary(**point) for point in fields["points"]),
        }
    )
