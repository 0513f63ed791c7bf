"""The data report as one HTML page: findings, what was done on the way in, and pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from acclimate.tasks.pool import TaskPool
from acclimate.tasks.report import DataReport
from acclimate.tasks.report.scan import Scan, scan

MOST_TASKS = 60
MOST_CHANNELS = 12
MOMENTS = 200
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } img { max-width: 100% }
td, th { text-align: left; padding: .3rem .6rem; vertical-align: top; border-bottom: 1px solid #d0d7de }
.error { color: #a40e26 } .warning { color: #7a4b00 }
"""


def report_page(title: str, pool: TaskPool, found: DataReport) -> str:
    """The page, with its pictures inside.

    Args:
        title: what the report is on.
    """
    scanned = scan(pool)
    parts = [
        f"<h1>Data report of {html.escape(title)}</h1>",
        f"<p>{found.rows:,} rows, {found.tasks} tasks of {found.groups} owners, "
        f"{sum(found.examples.values()):,} examples of {' x '.join(map(str, found.input_shape))}.</p>",
        "<h2>Findings</h2>",
        _findings(found),
        "<h2>On the way in</h2>",
        _list(found.intake or ["nothing was converted, moved or left out"]),
    ]
    for heading, picture, said in _pictures(pool, found, scanned):
        parts += [f"<h2>{html.escape(heading)}</h2>", f'<img alt="{html.escape(said)}" src="{picture}">']
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Data report of {html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _findings(found: DataReport) -> str:
    if not found.findings:
        return "<p>No defect found.</p>"
    rows = "".join(
        f'<tr><td class="{one.severity}">{one.severity}</td><td>{html.escape(one.what)}</td>'
        f"<td>{html.escape(one.remedy)}</td></tr>"
        for one in found.findings
    )
    return f"<table><tr><th>severity</th><th>what</th><th>remedy</th></tr>{rows}</table>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def _pictures(pool: TaskPool, found: DataReport, scanned: Scan) -> Iterator[tuple[str, str, str]]:
    from matplotlib.figure import Figure

    shown = np.arange(min(MOST_TASKS, len(pool.task_ids)))
    names = [pool.task_ids[task] for task in shown]
    height = 1.0 + 0.22 * len(shown)
    if pool.times is not None and scanned.begins is not None and scanned.ends is not None:
        figure = Figure((9, height), layout="constrained")
        axes = figure.subplots()
        first, last = float(np.nanmin(scanned.begins)), float(np.nanmax(scanned.ends))
        rows = np.stack([_covered(pool, int(task), first, last) for task in shown])
        axes.imshow(rows, aspect="auto", cmap="Blues", interpolation="nearest", extent=(0, 1, len(shown), 0))
        _label(axes, names)
        axes.set_xticks([0, 1], [_moment(first, pool), _moment(last, pool)])
        yield "Coverage by device and time", _inline(figure), f"rows of {len(shown)} devices over time"
    if found.labels:
        figure = Figure((9, 1.0 + 0.3 * len(found.labels)), layout="constrained")
        axes = figure.subplots()
        axes.barh(list(found.labels), list(found.labels.values()), color="#2f6db0")
        axes.invert_yaxis()
        yield "Examples by label", _inline(figure), "examples of each label"
    for at, channel in enumerate(pool.info.schema.channels[:MOST_CHANNELS] if pool.values.ndim == 2 else ()):
        figure = Figure((9, height), layout="constrained")
        axes = figure.subplots()
        boxes = [
            {"whislo": low, "q1": first, "med": middle, "q3": third, "whishi": high, "label": name}
            for name, (low, first, middle, third, high) in zip(
                names, np.nan_to_num(scanned.quantiles[shown, at]).tolist(), strict=True
            )
        ]
        axes.bxp(boxes, showfliers=False, orientation="horizontal")
        axes.invert_yaxis()
        yield f"{channel} by device", _inline(figure), f"the middle 90 % of {channel} on each device"


def _covered(pool: TaskPool, task: int, first: float, last: float) -> Any:
    """How many rows of a task lie in each part of the time, as a share of its fullest."""
    assert pool.times is not None
    times = np.asarray(pool.times[int(pool.rows[task]) : int(pool.rows[task + 1])])
    counts, _ = np.histogram(times, bins=MOMENTS, range=(first, max(last, first + 1e-9)))
    return counts / max(1, counts.max())


def _moment(seconds: float, pool: TaskPool) -> str:
    return str(np.datetime64(round(seconds), "s")) if pool.info.dated else f"{seconds:g}"


def _label(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=7)


def _inline(figure: Any) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
