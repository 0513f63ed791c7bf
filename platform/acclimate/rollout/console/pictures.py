"""From fleets and rollouts to charts. Each picture comes in two sizes, of which the style sheet shows one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from acclimate.rollout.console.charts import (
    Axis,
    Point,
    Rule,
    Segment,
    Series,
    line_chart,
    sparkline,
    track,
)
from acclimate.rollout.console.scales import number
from acclimate.rollout.domain.evidence import GateEvidence, Observation
from acclimate.rollout.domain.gates import difference_band
from acclimate.rollout.domain.plan import Gate, Plan
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.rollout.store import Counts

_SIZES = ((560, 260), (340, 220))


@dataclass(frozen=True)
class Picture:
    """A chart with its legend and the numbers it shows, for who cannot see it or wants them."""

    title: str
    description: str
    markup: Markup
    legend: Sequence[tuple[str, str]]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def effect_picture(plan: Plan, gate: Gate, observations: Sequence[Observation]) -> Picture | None:
    """Canary minus control with the band that holds at all times, as devices settled; None without data."""
    grown, margin = difference_band(plan, gate, observations)
    band = [one for one in grown if one.difference is not None]
    if not band:
        return None
    points = [
        Point(
            one.canary_devices + one.control_devices,
            one.difference or 0.0,
            -math.inf if one.lower is None else one.lower,
            math.inf if one.upper is None else one.upper,
        )
        for one in band
    ]
    rules = [Rule(0.0, "no difference", "zero")]
    if margin:
        rules.append(Rule(margin, "tolerated harm", "bad"))
    last = band[-1]
    title = f"Effect on {gate.name}: canary minus control"
    description = (
        f"After {points[-1].at:.0f} devices {_interval(last)}. {last.reason[:1].upper()}{last.reason[1:]}."
    )
    series = [Series("difference", "effect", points)]
    return Picture(
        title,
        description,
        _both(title, description, series, rules, "count"),
        [("effect", "difference, with the band that holds at every look")],
        ["Devices", "Canary", "Control", "Difference", "Lower", "Upper"],
        [
            [f"{point.at:.0f}", *map(_shown, (one.canary, one.control, one.difference, one.lower, one.upper))]
            for point, one in list(zip(points, band, strict=True))[-12:]
        ],
    )


def arms_picture(plan: Plan, observations: Sequence[Observation]) -> Picture | None:
    """Each arm's mean post-adaptation loss as devices settled; None until both have some."""
    sums = {"canary": [0.0, 0], "control": [0.0, 0]}
    lines: dict[str, list[Point]] = {"canary": [], "control": []}
    settled = [one for one in observations if one.order is not None and one.loss is not None]
    for count, one in enumerate(settled, start=1):
        total = sums[one.arm]
        total[0] += one.loss or 0.0
        total[1] += 1
        lines[one.arm].append(Point(count, total[0] / total[1]))
    if not all(lines.values()):
        return None
    title = "Loss after adaptation, by arm"
    ends = {arm: line[-1].value for arm, line in lines.items()}
    description = f"Canary {number(ends['canary'])}, control {number(ends['control'])}."
    series = [Series(arm, arm, _thinned(line, 120)) for arm, line in lines.items()]
    return Picture(
        title,
        description,
        _both(title, description, series, [], "count"),
        [("canary", f"canary: {plan.release.name} version {plan.release.version}"), ("control", "control")],
        ["Arm", "Devices", "Mean loss"],
        [[arm, str(int(sums[arm][1])), number(ends[arm])] for arm in lines],
    )


def history_picture(
    title: str, counts: Sequence[Counts], value: Callable[[Counts], float | None], unit: str
) -> Picture | None:
    """A figure by hour, one line for each of the two latest releases; None where there is none."""
    lines: dict[tuple[str, int], list[Point]] = defaultdict(list)
    for row in counts:
        shown = value(row)
        if shown is not None:
            lines[row.release.name, row.release.version].append(Point(row.hour, shown))
    if not lines:
        return None
    latest = sorted(lines, key=lambda key: (lines[key][-1].at, key[1]), reverse=True)[:2]
    styles = dict(zip(latest, ("canary", "control"), strict=False))
    names = {key: f"{key[0]} version {key[1]}" for key in latest}
    description = ", ".join(f"{names[key]}: {number(lines[key][-1].value)} {unit}" for key in latest)
    series = [Series(names[key], styles[key], lines[key]) for key in reversed(latest)]
    return Picture(
        title,
        f"Latest: {description}.",
        _both(title, description, series, [], "time"),
        [(styles[key], names[key]) for key in latest],
        ["Release", "Hour", unit],
        [[names[key], str(point.at), number(point.value)] for key in latest for point in lines[key][-12:]],
    )


def device_picture(reports: Sequence[ReportRecord]) -> Picture | None:
    """One device's loss over its latest reports, newest first; None without two with labels."""
    points = [
        Point(report.ended_at, report.loss_sum / report.examples)
        for report in reversed(reports)
        if report.examples
    ]
    if len(points) < 2:
        return None
    title, description = "Loss by report", f"Latest: {number(points[-1].value)}."
    series = [Series("loss", "effect", points)]
    return Picture(
        title,
        description,
        _both(title, description, series, [], "time"),
        [("effect", "mean loss of the report's labelled examples")],
        ["Report ended", "Mean loss"],
        [[str(point.at), number(point.value)] for point in points[-12:]],
    )


def drift_rate(row: Counts) -> float | None:
    """Drifts in a thousand reports of one hour."""
    return 1000 * row.drifts / row.reports if row.reports else None


def adapted_loss(row: Counts) -> float | None:
    """Mean loss of labelled examples while adapted parameters were in use."""
    return row.adapted_loss_sum / row.adapted_examples if row.adapted_examples else None


def drift_sparkline(counts: Sequence[Counts]) -> Markup:
    """Drifts by hour over all releases, for a table's cell."""
    hours: dict[float, list[int]] = defaultdict(lambda: [0, 0])
    for row in counts:
        hours[row.hour][0] += row.drifts
        hours[row.hour][1] += row.reports
    values = [drifts / reports for _, (drifts, reports) in sorted(hours.items()) if reports]
    return sparkline("Drifts a report over the last hours", values[-48:])


def wave_track(rollout: Rollout) -> Markup:
    """The targeted devices as one bar: each wave's share, those outside all waves last."""
    segments, reached = [], 0.0
    for index, wave in enumerate(rollout.plan.waves):
        opened = index < rollout.wave
        until = rollout.opened[index].canary if opened else max(wave.share or reached, reached)
        style = _wave_style(rollout, index)
        share = max(until - reached, 0.0)
        segments.append(Segment(share, style, f"wave {index + 1}: {wave} ({_WORDS[style]})"))
        reached = max(until, reached)
    if reached < 1:
        complete = "done" if rollout.state is State.DONE else "later"
        segments.append(Segment(1 - reached, complete, f"everyone else ({_WORDS[complete]})"))
    title = f"Waves: {rollout.wave} of {len(rollout.plan.waves)} opened"
    return track(title, "; ".join(segment.label for segment in segments), segments)


_WORDS = {
    "done": "passed",
    "now": "open",
    "held": "waiting for a person",
    "stopped": "returned to the old release",
    "later": "not yet",
}


def _wave_style(rollout: Rollout, index: int) -> str:
    if index >= rollout.wave:
        return "later"
    if rollout.state in (State.ROLLING_BACK, State.ROLLED_BACK):
        return "stopped"
    if index < rollout.wave - 1 or rollout.state in (State.DONE, State.PROMOTING):
        return "done"
    return "held" if rollout.state in (State.HELD, State.PAUSED) else "now"


def _both(
    title: str, description: str, series: Sequence[Series], rules: Sequence[Rule], axis: Axis
) -> Markup:
    pictures = [
        line_chart(title, description, series, rules, axis, width, height) for width, height in _SIZES
    ]
    return Markup().join(pictures)


def _thinned(points: Sequence[Point], most: int) -> Sequence[Point]:
    step = math.ceil(len(points) / most)
    return points if step <= 1 else [*points[::step], points[-1]]


def _interval(one: GateEvidence) -> str:
    return f"{_shown(one.difference)}, between {_shown(one.lower)} and {_shown(one.upper)}"


def _shown(value: float | None) -> str:
    return "-" if value is None else number(value)
