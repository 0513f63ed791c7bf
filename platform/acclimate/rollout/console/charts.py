"""Charts as SVG text: data in, picture out. Pure, escaped, coloured by the style sheet's classes.

A chart is a picture with a name and a description for people who do not see it; the page puts the numbers
below it as a table. Its text is drawn at its real size, so a page asks for one chart per width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

from acclimate.rollout.console.scales import Scale, bounds, number, ticks, time_ticks

Axis = Literal["time", "count"]
_MARKED = 48
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 14.0, 24.0


@dataclass(frozen=True)
class Point:
    """A value at a place on the axis (Unix seconds, or a count) and the confidence limits around it, which
    are infinite where unknown and NaN where there are none."""

    at: float
    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Series:
    """One line: `style` is its class in the style sheet (`canary`, `control`, `effect`)."""

    label: str
    style: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Rule:
    """A horizontal line of reference, such as 'no difference' or the largest harm allowed."""

    value: float
    label: str
    style: str


@dataclass(frozen=True)
class Mark:
    """A vertical line at a moment worth knowing."""

    at: float
    label: str


def line_chart(
    title: str,
    description: str,
    series: Sequence[Series],
    rules: Sequence[Rule] = (),
    axis: Axis = "time",
    width: int = 720,
    height: int = 260,
    marks: Sequence[Mark] = (),
) -> Markup:
    """Lines with their confidence bands on one pair of axes, over time or over a count.

    A band's infinite limit is drawn to the edge of the axis: not known is not the same as zero. A band much
    wider than what it surrounds is cut at the edge too, so that it does not flatten the lines.
    """
    low, high = bounds(_shown(series, rules))
    places = [point.at for line in series for point in line.points] or [0.0, 1.0]
    first = min(places) if axis == "time" else 0.0
    across = Scale(first, max(max(places), first + 1.0), _LEFT, width - _RIGHT)
    up = Scale(low, high, height - _BOTTOM, _TOP)
    parts = [
        _grid(across, up, axis, width, height),
        *(_rule(rule, up, width) for rule in rules),
        *(_band(line, across, up) for line in series),
        *(_line(line, across, up) for line in series),
        *(_mark(mark, index, across, up) for index, mark in enumerate(marks)),
    ]
    return _svg(f"chart {'wide' if width > 500 else 'small'}", title, description, width, height, parts)


def sparkline(title: str, values: Sequence[float]) -> Markup:
    """A line without axes, for a cell of a table."""
    width, height = 120, 28
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Markup()
    if len(finite) == 1:
        finite *= 2  # one hour is a level line
    low, high = bounds(finite)
    across, up = Scale(0, len(finite) - 1, 2, width - 2), Scale(low, high, height - 2, 2)
    path = _path([(across(index), up(value)) for index, value in enumerate(finite)])
    return _svg(
        "spark", title, "", width, height, [Markup('<path class="line effect" d="{}"/>').format(path)]
    )


@dataclass(frozen=True)
class Segment:
    """A stretch of a track: its share of the fleet (0..1), its state's class, and what it says on hover."""

    share: float
    style: str
    label: str


def track(title: str, description: str, segments: Sequence[Segment], width: int = 720) -> Markup:
    """The fleet as one bar, from the first device exposed to the last; one segment per wave."""
    gap, height, x = 3.0, 14, 0.0
    total = sum(segment.share for segment in segments) or 1.0
    room = width - gap * max(len(segments) - 1, 0)
    parts = []
    for segment in segments:
        length = max(room * segment.share / total, 4.0)
        parts.append(
            Markup('<rect class="segment {}" x="{:.1f}" y="0" width="{:.1f}" height="{}" rx="3">').format(
                segment.style, x, length, height
            )
            + Markup("<title>{}</title></rect>").format(segment.label)
        )
        x += length + gap
    return _svg("track", title, description, math.ceil(max(x - gap, width)), height, parts)


def _shown(series: Sequence[Series], rules: Sequence[Rule]) -> list[float]:
    """The values that the axis must reach: all lines and rules, and limits within six times their span."""
    lines = [point.value for line in series for point in line.points if math.isfinite(point.value)]
    lines += [rule.value for rule in rules]
    low, high = bounds(lines, padding=2.5)
    limits = [limit for line in series for point in line.points for limit in (point.low, point.high)]
    return lines + [min(max(limit, low), high) for limit in limits if math.isfinite(limit)]


def _grid(across: Scale, up: Scale, axis: Axis, width: int, height: int) -> Markup:
    parts = []
    for value in ticks(up.low, up.high, 5):
        y = up(value)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
                _LEFT, width - _RIGHT, y=y
            )
            + _text(_LEFT - 8, y + 4, number(value), "tick end")
        )
    count = 6 if width > 500 else 3
    if axis == "time":
        marks = time_ticks(across.low, across.high, count)
    else:
        marks = [(value, number(value)) for value in ticks(across.low, across.high, count)]
    for place, label in marks:
        style = "tick middle" if across(place) < width - 30 else "tick end"
        parts.append(_text(min(across(place), width - _RIGHT), height - 6, label, style))
    return Markup().join(parts)


def _rule(rule: Rule, up: Scale, width: int) -> Markup:
    y = up(rule.value)
    line = Markup('<line class="rule {}" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>')
    # The zero line's name goes below it, a limit's above: near each other they would cover one another.
    zero = rule.value == 0
    at, anchor = (_LEFT + 4, "start") if zero else (width - _RIGHT - 2, "end")
    label = _text(at, y + 14 if zero else y - 5, rule.label, f"rule-label {rule.style} {anchor}")
    return line.format(rule.style, _LEFT, width - _RIGHT, y=y) + label


def _mark(mark: Mark, index: int, across: Scale, up: Scale) -> Markup:
    x, top = across(mark.at), up.end
    line = Markup('<line class="rule mark" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/>').format(
        top, up.start, x=x
    )
    left = x > (across.start + across.end) * 0.6
    place, anchor = (x - 4, "end") if left else (x + 4, "start")
    row = top + 10 + 14 * (index % 2)  # two rows, so that neighbours' names do not meet
    return line + _text(place, row, mark.label, f"rule-label {anchor}")


def _band(line: Series, across: Scale, up: Scale) -> Markup:
    points = [point for point in line.points if not (math.isnan(point.low) or math.isnan(point.high))]
    if len(points) < 2:
        return Markup()
    upper = [(across(point.at), up(min(max(point.high, up.low), up.high))) for point in points]
    lower = [(across(point.at), up(min(max(point.low, up.low), up.high))) for point in reversed(points)]
    return Markup('<path class="band {}" d="{}Z"/>').format(line.style, _path([*upper, *lower]))


def _line(line: Series, across: Scale, up: Scale) -> Markup:
    points = [point for point in line.points if math.isfinite(point.value)]
    if not points:
        return Markup()
    path = _path([(across(point.at), up(point.value)) for point in points])
    # Few points are each an hour or a report of its own: a lone high one must not look like nothing.
    marks = [
        Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(
            line.style, across(point.at), up(point.value)
        )
        for point in (points[:-1] if len(points) <= _MARKED else ())
    ]
    last = points[-1]
    limits = "" if math.isnan(last.low) else f" ({number(last.low)} to {number(last.high)})"
    dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}</title></circle>').format(
        line.style, across(last.at), up(last.value), f"{line.label}: {number(last.value)}{limits}"
    )
    drawn = Markup('<path class="line {}" d="{}"/>').format(line.style, path)
    return drawn + Markup().join(marks) + dot


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, style: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(style, x, y, text)


def _svg(kind: str, title: str, description: str, width: int, height: int, parts: Sequence[Markup]) -> Markup:
    label = escape(f"{title}. {description}" if description else title)
    stretch = Markup(' preserveAspectRatio="none"') if kind == "track" else Markup()
    size = Markup('viewBox="0 0 {w} {h}" width="{w}" height="{h}"{}').format(stretch, w=width, h=height)
    head = Markup('<svg class="{}" role="img" aria-label="{}" {}>').format(kind, label, size)
    return head + Markup().join(parts) + Markup("</svg>")
