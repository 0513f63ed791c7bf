"""The picture of an evaluation: adaptation curves by shots, and every held-out task at the judged point.

Colours are Okabe and Ito's (2008), told apart with any colour vision; each start keeps its colour and marker
everywhere, and lines are named where they end.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only: no display is needed, none is opened

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from acclimate.evaluation.contenders import LABELS, Start
from acclimate.evaluation.report import Curve, Evaluation, headline

COLOURS: dict[Start, str] = {
    "meta": "#0072B2",
    "joint_finetuned": "#D55E00",
    "joint": "#737373",
    "device_only": "#009E73",
}
MARKERS: dict[Start, str] = {"meta": "o", "joint_finetuned": "s", "joint": "D", "device_only": "^"}
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


def save_plot(evaluation: Evaluation, title: str, path: Path) -> None:
    """Write the picture as PNG."""
    with plt.rc_context(STYLE):
        figure = draw(evaluation, title)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def draw(evaluation: Evaluation, title: str) -> Figure:
    """A panel of curves for each number of shots, then one of the held-out tasks."""
    shots = evaluation.shots
    figure, axes = plt.subplots(
        1,
        len(shots) + 1,
        figsize=(5.2 * (len(shots) + 1), 5.4),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, number in zip(axes[0], shots, strict=False):
        _draw_curves(axis, evaluation, number)
    _draw_tasks(axes[0][-1], evaluation, max(shots))
    axes[0][0].set_ylabel(_axis_label(evaluation))
    figure.suptitle(f"{title}\n", x=0.01, ha="left", fontsize=15, fontweight="bold")
    figure.text(0.01, 0.935, headline(evaluation, max(shots)), ha="left", fontsize=11, color="#404040")
    return figure


def _draw_curves(axis: Axes, evaluation: Evaluation, shots: int) -> None:
    ends: list[tuple[float, Start]] = []
    meta = evaluation.curve("meta", shots)
    last = meta.steps[-2]  # the long point is for the table: it would squeeze the steps a device takes
    for start in evaluation.starts:
        curve = evaluation.curve(start, shots)
        steps, means, lows, highs = _drawable(curve, last)
        strong = start == "meta"
        axis.fill_between(steps, lows, highs, color=COLOURS[start], alpha=0.14, linewidth=0)
        axis.plot(
            steps,
            means,
            color=COLOURS[start],
            marker=MARKERS[start] if start != "joint" else None,
            linestyle="--" if start == "joint" else "-",
            linewidth=2.6 if strong else 1.8,
            markersize=7 if strong else 5.5,
            zorder=3 if strong else 2,
        )
        ends.append((means[-1], start))
    axis.set_title(f"{shots} {'shots' if shots > 1 else 'shot'}{_per_class(evaluation)}")
    axis.set_xscale("symlog", linthresh=1)
    ticks = meta.steps[:-1]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("gradient steps on the device")
    axis.set_xlim(-0.12, last * 1.08)
    _scale(axis, evaluation)
    _label_ends(axis, ends, last)


def _drawable(curve: Curve, last: int) -> tuple[list[int], list[float], list[float], list[float]]:
    if curve.start == "joint":  # it does not adapt: a level to compare with
        point = curve.points[0]
        return [0, last], [point.mean] * 2, [point.low] * 2, [point.high] * 2
    shown = [(step, point) for step, point in zip(curve.steps, curve.points, strict=True) if step <= last]
    return (
        [step for step, _ in shown],
        [point.mean for _, point in shown],
        [point.low for _, point in shown],
        [point.high for _, point in shown],
    )


def _label_ends(axis: Axes, ends: list[tuple[float, Start]], last: int) -> None:
    """Name each line at its end, pushed apart where two would touch."""
    low, high = axis.get_ylim()
    to_height = axis.transData.transform
    gap = 0.055
    placed: list[float] = []
    for value, start in sorted(ends):
        height = (to_height((last, value))[1] - axis.bbox.y0) / axis.bbox.height
        height = max(height, placed[-1] + gap) if placed else max(height, 0.02)
        placed.append(height)
        axis.annotate(
            LABELS[start],
            (1.01, height),
            xycoords="axes fraction",
            va="center",
            color=COLOURS[start],
            fontweight="bold" if start == "meta" else "normal",
            fontsize=10,
        )
    axis.set_ylim(low, high)


def _draw_tasks(axis: Axes, evaluation: Evaluation, shots: int) -> None:
    """Each held-out task as a dot: nobody is hidden behind a mean."""
    jitter = np.random.default_rng(0)
    for place, start in enumerate(evaluation.starts):
        judged = evaluation.curve(start, shots).judged
        spread = jitter.uniform(-0.16, 0.16, len(judged.values))
        axis.scatter(
            place + spread,
            judged.values,
            s=34 if len(judged.values) < 60 else 8,
            color=COLOURS[start],
            marker=MARKERS[start],
            alpha=0.65,
            linewidth=0,
        )
        axis.hlines(judged.mean, place - 0.3, place + 0.3, color=COLOURS[start], linewidth=2.6)
        axis.annotate(
            f"worst {judged.worst_task}",
            (place, judged.worst),
            xytext=(0, -13 if evaluation.higher_is_better else 10),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#404040",
        )
    axis.set_title(f"every held-out task, {shots} {'shots' if shots > 1 else 'shot'}")
    axis.set_xticks(
        range(len(evaluation.starts)),
        [_name_and_steps(evaluation.curve(start, shots)) for start in evaluation.starts],
    )
    axis.tick_params(axis="x", length=0)
    axis.set_xlim(-0.6, len(evaluation.starts) - 0.4)


def _name_and_steps(curve: Curve) -> str:
    steps = "not adapted" if curve.start == "joint" else f"{curve.steps[curve.chosen]} steps"
    first, _, rest = LABELS[curve.start].partition(" ")
    return f"{first}\n{rest}\n{steps}"


def _scale(axis: Axes, evaluation: Evaluation) -> None:
    if evaluation.metric == "accuracy":
        axis.set_ylim(0, 1.02)
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    else:
        axis.set_yscale("log")


def _axis_label(evaluation: Evaluation) -> str:
    if evaluation.metric == "accuracy":
        return "accuracy on the task's later examples"
    return f"{evaluation.metric} of the normalized target, log scale"


def _per_class(evaluation: Evaluation) -> str:
    return " of each class" if evaluation.metric == "accuracy" else ""
