"""The evaluation as data: adaptation curves on held-out tasks, and what they add up to.

As JSON it travels with every registered version; `format` changes when a field changes its meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from acclimate.evaluation.contenders import LABELS, Start
from acclimate.evaluation.details import worst_recall
from acclimate.evaluation.statistics import Summary
from acclimate.finite import finite_or_none

FORMAT = 1
_MOST_LEADS = 8  # of a forecast that a sentence lists; the JSON has all
ENOUGH_DEVICES = 8  # held out; of fewer, an interval by Student's t says next to nothing


@dataclass(frozen=True)
class Curve:
    """One start adapting on held-out tasks.

    Attributes:
        start: a key of `acclimate.evaluation.contenders.LABELS`.
        shots: support examples of each class, or in all.
        steps: gradient steps, ascending; 0 alone where none are taken, 0 and 1 for a head in closed form.
        points: the metric after each of `steps`.
        chosen: position in `steps` to be judged at, chosen on validation tasks.
        setting: what was chosen with it, such as `inner_lr`.
        validation: the metric that the choice reached on the validation tasks; None where nothing was
            chosen.
        details: further figures at the judged point, such as errors in the target's unit.
        draws: the metric at the judged point in each episode of each task, `(draws, tasks)`; empty in
            reports that do not tell.
    """

    start: Start
    shots: int
    steps: tuple[int, ...]
    points: tuple[Summary, ...]
    chosen: int
    setting: Mapping[str, float | str] = field(default_factory=dict)
    validation: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    draws: tuple[tuple[float, ...], ...] = ()

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
        groups: the device, person or site of each task; empty where each task is its own.
        days: of recordings that a held-out device has, the median; None where no clock tells.
        unmeasured: rivals that raised when they were measured, and why.
        longer: outer steps to train for, where the validation loss still fell as training ended; None where
            it did not, or nobody looked.
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
    groups: tuple[str, ...] = ()
    days: float | None = None
    unmeasured: Mapping[Start, str] = field(default_factory=dict)
    longer: int | None = None

    @property
    def devices(self) -> int:
        """Held-out devices: what an interval counts."""
        return len(set(self.groups)) if self.groups else len(self.tasks)

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
            if curve.start == "meta":
                named |= {
                    f"{name}.{curve.start}.{curve.shots}_shot": value for name, value in curve.details.items()
                }
        return named

    def as_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {"format": FORMAT, **finite_or_none(asdict(self))}

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
        for name in ("tasks", "seeds", "groups"):
            fields[name] = tuple(fields.get(name, ()))
        return Evaluation(**fields)


def table(evaluation: Evaluation, shots: int) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the curves at `shots`, a column for each number of steps; `*` marks the judged."""
    steps = sorted({step for curve in evaluation.curves if curve.shots == shots for step in curve.steps})
    rows = []
    for start in evaluation.starts:
        curve = evaluation.curve(start, shots)
        cells = dict.fromkeys(steps, "")
        for position, (step, point) in enumerate(zip(curve.steps, curve.points, strict=True)):
            cells[step] = _cell(evaluation, point.mean) + ("*" if position == curve.chosen else "")
        chosen = ", ".join(f"{name} {_plain(value)}" for name, value in curve.setting.items())
        rows.append(
            [label_of(evaluation, start), *cells.values(), _cell(evaluation, curve.judged.worst), chosen]
        )
    return ["start", *map(str, steps), "worst*", "chosen"], rows


def headline(evaluation: Evaluation, shots: int) -> str:
    """The result in one sentence."""
    curve = evaluation.curve("meta", shots)
    low, high = (number(evaluation, end) for end in (curve.judged.low, curve.judged.high))
    spread = "" if evaluation.devices < 2 else f", 95 % interval {low} to {high}"
    others = ", ".join(
        f"{label_of(evaluation, start)} {number(evaluation, evaluation.curve(start, shots).judged.mean)}"
        for start in evaluation.starts
        if start != "meta"
    )
    few = f"; {too_few(evaluation.devices)}" if evaluation.devices < ENOUGH_DEVICES else ""
    return (
        f"{counted(shots, 'shot')}, {adapted_words(curve)}: held-out tasks reach "
        f"{metric_name(evaluation)} {number(evaluation, curve.judged.mean)}{spread} ({others}){few}"
    )


def adapted_words(curve: Curve) -> str:
    """How a contender adapted at its judged point."""
    steps = curve.steps[curve.chosen]
    if curve.steps == (0, 1):
        return "head solved" if steps else "not adapted"
    if steps == 0:
        return "not adapted"
    return counted(steps, "gradient step")


def too_few(devices: int) -> str:
    """Said wherever figures rest on fewer than `ENOUGH_DEVICES`."""
    return f"{counted(devices, 'held-out device')} {'is' if devices == 1 else 'are'} too few to tell"


def comparison_sentence(evaluation: Evaluation, comparison: Comparison) -> str:
    """One comparison in a sentence."""
    unit, scale = (" points", 100.0) if evaluation.metric == "accuracy" else ("", 1.0)
    spread = interval_words(evaluation, scale * comparison.low, scale * comparison.high)
    rival = label_of(evaluation, comparison.against)
    return (
        f"against {rival}: {scale * comparison.gain:+.3g}{unit} ({spread}), "
        f"at least as good on {comparison.tasks_better} of {counted(len(evaluation.tasks), 'task')}"
    )


def interval_words(evaluation: Evaluation, low: float, high: float) -> str:
    """Of a gain; one device has none."""
    return f"95 % interval {low:+.3g} to {high:+.3g}" if evaluation.devices > 1 else "one device: no interval"


def caveats(evaluation: Evaluation) -> list[str]:
    """What no verdict can know of, in sentences: rivals that failed, and what more steps would bring."""
    found = []
    if evaluation.unmeasured:
        named = (f"{label_of(evaluation, start)} ({why})" for start, why in evaluation.unmeasured.items())
        found.append(f"Not measured, for it failed: {', '.join(named)}.")
    if evaluation.longer is not None:
        found.append(
            "The validation loss still fell as training ended: train longer, with "
            f"training.steps={evaluation.longer}."
        )
    return found


def worst_sentence(evaluation: Evaluation, shots: int) -> str:
    """The least good task of the meta-learned start, beside what the baselines make of their least good."""
    worst = ", ".join(
        f"{label_of(evaluation, start)} {number(evaluation, judged.worst)} ({judged.worst_task})"
        for start in evaluation.starts
        for judged in (evaluation.curve(start, shots).judged,)
    )
    return f"worst task: {worst}"


def ahead_sentence(evaluation: Evaluation, shots: int) -> str | None:
    """A forecast's mean absolute errors by rows ahead, over those of what needs no model (MASE)."""
    details = evaluation.curve("meta", shots).details
    errors = {key: value for key, value in details.items() if key.startswith("ahead.")}
    if not errors:
        return None
    unmodelled: tuple[Start, ...] = ("persistence", "seasonal")
    naive = [start for start in unmodelled if start in evaluation.starts]
    of_naive = [evaluation.curve(start, shots).details for start in naive]
    least = {key: min((each[key] for each in of_naive if key in each), default=0.0) for key in errors}
    targets = len({key.split(".", 2)[2] for key in errors})
    said = []
    for key, value in errors.items():
        _, lead, target = key.split(".", 2)
        scaled = f" ({value / least[key]:.2f})" if least[key] > 0 else ""
        said.append(f"{lead}{f' of {target}' if targets > 1 else ''}: {value:.4g}{scaled}")
    shown = said if len(said) <= _MOST_LEADS else [*said[: _MOST_LEADS // 2], *said[-_MOST_LEADS // 2 :]]
    over = f" (over that of the better of {_named(naive)})" if naive else ""
    return f"mean absolute error by rows ahead{over}: {', '.join(shown)}"


def _named(starts: Sequence[Start]) -> str:
    return " and ".join(LABELS[start] for start in starts)


def units_sentence(evaluation: Evaluation, shots: int) -> str | None:
    """The errors of the meta-learned start in the targets' own units, or what an accuracy hides."""
    details = evaluation.curve("meta", shots).details
    errors = [
        f"{target} {value:.4g} (rms {details[f'rmse.{target}']:.4g})"
        for target, value in errors_of(evaluation.curve("meta", shots)).items()
    ]
    if errors:
        return f"mean absolute error in the targets' units: {', '.join(errors)}"
    if "false_alarms_a_month" in details:
        return (
            f"false alarms of a device in a month: {details['false_alarms_a_month']:.3g}, at worst "
            f"{details['false_alarms_a_month.worst']:.3g}; {100 * details.get('anomalies_found', 0):.0f}% of "
            "the anomalies raised an alarm"
        )
    if "macro_f1" not in details:
        return None
    said = (
        f"each class counted alike: balanced accuracy {100 * details['balanced_accuracy']:.1f}%, "
        f"macro F1 {100 * details['macro_f1']:.1f}%"
    )
    missed = worst_recall(details)
    return said if missed is None else f"{said}; missed most: {missed[0]}, found {100 * missed[1]:.0f}%"


def errors_of(curve: Curve) -> dict[str, float]:
    """The mean absolute error of each target at the judged point, in the target's own unit."""
    return {
        name.removeprefix("mae."): value for name, value in curve.details.items() if name.startswith("mae.")
    }


class Measured(Protocol):
    """What has a metric."""

    @property
    def metric(self) -> str: ...


def label_of(evaluation: Measured, start: Start) -> str:
    """What people call a contender; of anomalies, the joint model is what is normal of the fleet."""
    return "fleet alone" if (evaluation.metric, start) == ("average_precision", "joint") else LABELS[start]


def metric_name(evaluation: Measured) -> str:
    """The metric as people call it: errors are of the normalized target."""
    if evaluation.metric in ("accuracy", "average_precision"):
        return evaluation.metric.replace("_", " ")
    return f"normalized {evaluation.metric}"


def counted(count: int, noun: str) -> str:
    """`1 device`, `12 devices`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def number(evaluation: Measured, value: float) -> str:
    return f"{100 * value:.1f}%" if evaluation.metric == "accuracy" else f"{value:.3g}"


def _cell(evaluation: Evaluation, value: float) -> str:
    return number(evaluation, value).removesuffix("%")  # said once, above the table


def _curve(fields: Mapping[str, Any]) -> Curve:
    known = dict(fields)
    rate = known.pop("inner_lr", None)  # how a report of version 0.1 named the only setting there was
    if rate is not None:
        known["setting"] = {"inner_lr": rate}
    return Curve(
        **{
            **known,
            "steps": tuple(known["steps"]),
            "points": tuple(_summary(point) for point in known["points"]),
            "draws": tuple(
                tuple(math.nan if value is None else value for value in draw)
                for draw in known.get("draws", ())
            ),
        }
    )


def _summary(fields: Mapping[str, Any]) -> Summary:
    known: dict[str, Any] = {name: math.nan if each is None else each for name, each in fields.items()}
    known["values"] = [math.nan if each is None else each for each in fields["values"]]
    known["quantiles"] = {
        level: math.nan if each is None else each for level, each in fields["quantiles"].items()
    }
    return Summary(**known)


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
