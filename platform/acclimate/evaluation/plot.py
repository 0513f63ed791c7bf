"""The picture of an evaluation: adaptation curves by shots, and every held-out task at the judged point.

Colours are Okabe and Ito's (2008), told apart with any colour vision; each start keeps its colour and marker
everywhere, and lines are named where they end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")  # files only: no display is needed, none is opened

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from acclimate.evaluation.compared import Compared, Entry
from acclimate.evaluation.contenders import LABELS, Start
from acclimate.evaluation.report import Curve, Evaluation, adapted_words, headline, metric_name
from acclimate.evaluation.statistics import Summary

_FAR = 3.0  # between errors: from there on an axis goes by their logarithm
COLOURS: dict[Start, str] = {
    "meta": "#0072B2",
    "joint_finetuned": "#D55E00",
    "joint_solved": "#CC79A7",
    "joint": "#737373",
    "nearest": "#E69F00",
    "device_only": "#009E73",
    "trees": "#56B4E9",
    "linear": "#117733",
    "support": "#999933",
    "persistence": "#882255",
    "seasonal": "#332288",
}
MARKERS: dict[Start, str] = {
    "meta": "o",
    "joint_finetuned": "s",
    "joint_solved": "P",
    "joint": "D",
    "nearest": "X",
    "device_only": "^",
    "trees": "v",
    "linear": "d",
    "support": "h",
    "persistence": "<",
    "seasonal": ">",
}
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b0b0b0",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "savefig.facecolor": "white",
}


def save_plot(evaluation: Evaluation, name: str, path: Path) -> None:
    """Write the picture of what `name` learned as PNG."""
    with plt.rc_context(STYLE):
        figure = draw(evaluation, f"{name}: how fast tasks that were never trained on adapt")
        figure.savefig(path, dpi=150)
        plt.close(figure)


def save_comparison(found: Compared, name: str, path: Path) -> None:
    """Write the picture of a comparison as PNG: every candidate with its interval, best on top."""
    entries = [entry for entry in reversed(found.entries) if not entry.failed]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 1.6 + 0.42 * len(entries)), layout="constrained")
        for place, entry in enumerate(entries):
            strong = entry.name == found.recommended
            axis.hlines(place, entry.low, entry.high, color=COLOURS[entry.start], linewidth=4, alpha=0.35)
            axis.plot(
                entry.mean,
                place,
                MARKERS[entry.start],
                color=COLOURS[entry.start],
                markersize=11 if strong else 8,
            )
        axis.set_yticks(range(len(entries)), [_entry_label(entry, found) for entry in entries])
        axis.set_xlabel(
            f"{metric_name(found)}, mean and 95 % interval over {found.devices} devices, each held out once"
        )
        axis.grid(axis="y", visible=False)
        axis.grid(axis="x", visible=True)
        if not found.higher_is_better:  # an error
            _scale_errors(axis, [entry.mean for entry in entries if math.isfinite(entry.mean)])
        axis.set_title(f"{name}: candidates on devices that were never trained on")
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _scale_errors(axis: Axes, means: Sequence[float]) -> None:
    """By logarithm where they differ much, as far as it goes: nought has none."""
    above = [mean for mean in means if mean > 0]
    if not above or max(above) < _FAR * min(above):
        return
    if len(above) == len(means):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.set_xscale("symlog", linthresh=min(above))
        axis.set_xlim(left=-min(above))


def _entry_label(entry: Entry, found: Compared) -> str:
    if not math.isfinite(entry.mean):
        return f"{entry.name} (overflowed)"
    return f"{entry.name} (recommended)" if entry.name == found.recommended else entry.name


def draw(evaluation: Evaluation, title: str) -> Figure:
    """A panel of curves for each number of shots, then one of the held-out tasks."""
    shots = evaluation.shots
    widths = [*[5.6] * len(shots), max(5.6, 1.1 * len(evaluation.starts))]  # inches; names stand side by side
    figure, grid = plt.subplots(
        1,
        len(widths),
        figsize=(sum(widths), 5.6),
        width_ratios=widths,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    axes = grid[0]
    ends = [_draw_curves(axis, evaluation, number) for axis, number in zip(axes, shots, strict=False)]
    told_of = evaluation.policy_shots if evaluation.policy_shots in shots else max(shots)
    _draw_tasks(axes[-1], evaluation, told_of)
    axes[0].set_ylabel(_axis_label(evaluation))
    figure.get_layout_engine().set(rect=(0.005, 0.01, 0.99, 0.83), wspace=0.04)
    figure.text(0.01, 0.94, title, fontsize=16, fontweight="bold", va="center")
    told = fill(headline(evaluation, told_of), int(10 * figure.get_figwidth()))
    figure.text(0.01, 0.885, told, color="#404040", va="center")
    figure.canvas.draw()  # settles the shared scale, which the labels' heights depend on
    for axis, of_axis in zip(axes, ends, strict=False):
        _label_ends(axis, of_axis)
    return figure


def _draw_curves(axis: Axes, evaluation: Evaluation, shots: int) -> list[tuple[float, float, Start]]:
    """Draw a panel; gives where each line ends."""
    longest = max((evaluation.curve(start, shots).steps for start in evaluation.starts), key=len)
    # The long point is for the table: nobody waits for it on a device.
    steps = longest[:-1] if len(longest) > 2 else longest
    ends = []
    for start in evaluation.starts:
        points = _points(evaluation.curve(start, shots), steps)
        means = [point.mean for point in points]
        strong, level = start == "meta", len(evaluation.curve(start, shots).steps) == 1
        if not level or start == "joint":
            axis.fill_between(
                range(len(steps)),
                *_interval(evaluation, points),
                color=COLOURS[start],
                alpha=0.13,
                linewidth=0,
            )
        axis.plot(
            means,
            color=COLOURS[start],
            marker="" if level else MARKERS[start],
            linestyle="--" if level else "-",
            linewidth=2.8 if strong else 1.8,
            markersize=7.5 if strong else 6,
            zorder=3 if strong else 2,
        )
        ends.append((means[-1], float(len(steps) - 1), start))
    _scale(axis, evaluation)
    axis.set_title(_shots(evaluation, shots))
    axis.set_xticks(range(len(steps)), [str(step) for step in steps])
    axis.set_xlabel("gradient steps on the device (band: 95 % interval)")
    return ends


def _points(curve: Curve, steps: Sequence[int]) -> list[Summary]:
    """A point for each of `steps`: what takes none is a level, a solved head stays where it is."""
    at = dict(zip(curve.steps, curve.points, strict=True))
    return [at.get(step, curve.points[-1]) for step in steps]


def _interval(evaluation: Evaluation, points: Sequence[Summary]) -> tuple[list[float], list[float]]:
    """The ends of the intervals; Student's t knows no bounds, an accuracy does."""
    share = evaluation.higher_is_better
    highest = 1.0 if share else float("inf")
    lowest = 0.0 if share else min(point.mean for point in points) / 10
    return [max(point.low, lowest) for point in points], [min(point.high, highest) for point in points]


def _label_ends(axis: Axes, ends: list[tuple[float, float, Start]]) -> None:
    """Name each line at its end, pushed apart where two would touch."""
    gap, height = 0.06, -1.0
    for value, last, start in sorted(ends):
        own = axis.transAxes.inverted().transform(axis.transData.transform((last, value)))[1]
        height = max(own, height + gap)
        axis.annotate(
            LABELS[start],
            (1.02, height),
            xycoords="axes fraction",
            va="center",
            color=COLOURS[start],
            fontweight="bold" if start == "meta" else "normal",
            fontsize=10,
        )


def _draw_tasks(axis: Axes, evaluation: Evaluation, shots: int) -> None:
    """Each held-out task as a dot: nobody is hidden behind a mean."""
    jitter = np.random.default_rng(0)
    for place, start in enumerate(evaluation.starts):
        judged = evaluation.curve(start, shots).judged
        few = len(judged.values) < 60
        axis.scatter(
            place + jitter.uniform(-0.2, 0.2, len(judged.values)),
            judged.values,
            s=44 if few else 8,
            color=COLOURS[start],
            marker=MARKERS[start],
            alpha=0.6 if few else 0.35,
            linewidth=0,
        )
        axis.hlines(judged.mean, place - 0.34, place + 0.34, color=COLOURS[start], linewidth=2.8)
        axis.annotate(
            judged.worst_task,
            (place, judged.worst),
            xytext=(0, -11 if evaluation.higher_is_better else 9),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            color="#606060",
        )
    axis.set_title(f"every held-out task, {shots} {'shot' if shots == 1 else 'shots'}")
    names = [_name_and_steps(evaluation.curve(start, shots)) for start in evaluation.starts]
    axis.set_xticks(range(len(names)), names)
    axis.set_xlabel("bar: mean; named: worst task")
    axis.tick_params(axis="x", length=0, labelsize=9)
    axis.set_xlim(-0.6, len(names) - 0.4)


def _name_and_steps(curve: Curve) -> str:
    adapted = "" if curve.start in ("trees", "linear", "support", "nearest") else adapted_words(curve)
    return "\n".join(fill(text, 12) for text in (LABELS[curve.start], adapted))


def _scale(axis: Axes, evaluation: Evaluation) -> None:
    if not evaluation.higher_is_better:
        axis.set_yscale("log")
        return
    axis.set_ylim(0, 1.03)
    if evaluation.metric == "accuracy":
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _axis_label(evaluation: Evaluation) -> str:
    if evaluation.metric == "accuracy":
        return "accuracy on the task's own later examples"
    if evaluation.higher_is_better:
        return metric_name(evaluation)
    return f"{evaluation.metric} of the normalized target, log scale"


def _shots(evaluation: Evaluation, shots: int) -> str:
    of_each = " of each class" if evaluation.metric == "accuracy" else ""
    return f"{shots} {'shot' if shots == 1 else 'shots'}{of_each}"
