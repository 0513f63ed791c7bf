"""What is wrong with some recordings before anything is trained on them, each with its remedy."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.initialization import Missing
from acclimate.tasks.episodes import EpisodePlan
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.pool.sampler import cut_cells
from acclimate.tasks.pool.stored import CHUNK_ROWS
from acclimate.tasks.report.findings import Finding, Severity, names
from acclimate.tasks.report.oddities import oddities
from acclimate.tasks.report.scan import scan
from acclimate.tasks.report.suspicions import suspicions


@dataclass(frozen=True)
class DataReport:
    """Figures and findings of a pool.

    Attributes:
        examples: by task id.
        labels: examples by label; empty for real targets.
        missing: missing values by column, as found in the source.
        missing_tasks: missing values by task.
        constant: tasks in which a channel never changes, by channel.
        duplicates: ids of tasks with the same data, a list for each set of them.
        short: ids of tasks with too few examples for both support and query, or with none at all.
        one_sided: ids of tasks that have both, but of no label both.
        incomplete: labels without an example, by task id.
        possible: examples that each task would have if nothing were missing.
        intake: what was detected, converted, moved or left out on the way in.
    """

    rows: int
    tasks: int
    groups: int
    content_hash: str
    input_shape: tuple[int, ...]
    examples: dict[str, int]
    labels: dict[str, int]
    missing: dict[str, int]
    missing_tasks: dict[str, int]
    constant: dict[str, list[str]]
    duplicates: list[list[str]]
    short: list[str]
    one_sided: list[str]
    incomplete: dict[str, list[str]]
    possible: dict[str, int]
    intake: list[str]
    findings: list[Finding]

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def report_on(pool: TaskPool, plan: EpisodePlan | None = None, missing: Missing | None = None) -> DataReport:
    """Read a whole pool once and report on it.

    Args:
        plan: how episodes will be cut, to tell which tasks are too short for it.
        missing: how training will treat missing values; default: as the pool does.
    """
    info = pool.info
    counts = np.diff(pool.cells).reshape(-1, pool.classes)
    constant: dict[str, list[str]] = defaultdict(list)
    digests: dict[str, list[str]] = defaultdict(list)
    for task, name in enumerate(pool.task_ids):
        flat, digest = _scan(pool, task)
        digests[digest].append(name)
        for channel in flat:
            if channel < len(info.schema.channels):  # a calendar that stands still is no fault of a sensor
                constant[info.schema.channels[channel]].append(name)
    short, one_sided = _unusable(pool, plan)
    figures: dict[str, Any] = {
        "rows": int(pool.rows[-1]),
        "tasks": len(pool.task_ids),
        "groups": len(set(pool.groups)),
        "content_hash": info.content_hash,
        "input_shape": pool.input_shape,
        "examples": dict(zip(pool.task_ids, counts.sum(axis=1).tolist(), strict=True)),
        "labels": dict(zip(info.labels, counts.sum(axis=0).tolist(), strict=False)),
        "missing": info.missing,
        "missing_tasks": info.missing_tasks,
        "constant": dict(constant),
        "duplicates": [names for names in digests.values() if len(names) > 1],
        "short": short,
        "one_sided": one_sided,
        "incomplete": _incomplete(pool, counts),
        "possible": dict(zip(pool.task_ids, info.possible, strict=False)),
        "intake": list(info.intake),
    }
    report = DataReport(findings=[], **figures)
    report.findings.extend(_survival(report))
    report.findings.extend(_findings(pool, plan, report, missing or info.schema.missing))
    report.findings.extend(suspicions(pool, scan(pool)))
    report.findings.extend(oddities(pool))
    return report


def _scan(pool: TaskPool, task: int) -> tuple[list[int], str]:
    """The constant channels of a task, and a digest of its rows, targets and labels."""
    channels = pool.values.shape[1]
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    digest = hashlib.blake2b(digest_size=16)
    begin, end = int(pool.rows[task]), int(pool.rows[task + 1])
    for first in range(begin, end, CHUNK_ROWS):
        span = slice(first, min(first + CHUNK_ROWS, end))
        values = np.ascontiguousarray(pool.values[span])
        digest.update(values.data)
        if pool.targets is not None:
            digest.update(np.ascontiguousarray(pool.targets[span]).data)
        low, high = _range(values.reshape(len(values), channels, -1), low, high)
    cells = pool.cells[task * pool.classes : (task + 1) * pool.classes + 1]
    digest.update((pool.starts[cells[0] : cells[-1]] - begin).tobytes() + np.diff(cells).tobytes())
    return np.flatnonzero(low >= high).tolist(), digest.hexdigest()


def _range(values: npt.NDArray[Any], low: Any, high: Any) -> tuple[Any, Any]:
    absent = np.isnan(values) if values.dtype == np.float32 else np.zeros(values.shape, dtype=bool)
    low = np.minimum(low, np.where(absent, np.inf, values).min(axis=(0, 2)))
    return low, np.maximum(high, np.where(absent, -np.inf, values).max(axis=(0, 2)))


def _unusable(pool: TaskPool, plan: EpisodePlan | None) -> tuple[list[str], list[str]]:
    """Ids of the tasks that are too short, and of those whose support and query have no label in common."""
    if plan is None:
        return [name for task, name in enumerate(pool.task_ids) if pool.examples_of(task) == 0], []
    support, begin, size = cut_cells(pool, plan)
    query = size - begin
    usable = (np.minimum(support, query) > 0).any(axis=1)
    both = support.any(axis=1) & query.any(axis=1)
    short, one_sided = np.flatnonzero(~usable & ~both), np.flatnonzero(~usable & both)
    return [pool.task_ids[task] for task in short], [pool.task_ids[task] for task in one_sided]


def _incomplete(pool: TaskPool, counts: npt.NDArray[Any]) -> dict[str, list[str]]:
    return {
        pool.task_ids[task]: [pool.info.labels[label] for label in np.flatnonzero(row == 0)]
        for task, row in enumerate(counts)
        if pool.info.labels and (row == 0).any() and row.any()
    }


LOST = 0.25
"""Share of windows that gaps may cost before it is a fault."""
FEW = 0.1
"""Share of the tasks that may be too short for one example before it is a fault: every fleet has a few."""


def _survival(report: DataReport) -> Iterator[Finding]:
    """Devices, windows and classes that do not arrive: nothing that a person would want to train over."""
    lost = [task for task, number in report.examples.items() if number == 0]
    if lost:
        gaps = [task for task in lost if report.possible.get(task, 0) > 0]
        yield Finding(
            "error" if gaps or len(lost) > FEW * report.tasks else "warning",
            f"{len(lost)} of {report.tasks} task(s) have no example at all: {names(lost)}"
            + (f"; {len(gaps)} of them because of missing values" if gaps else ""),
            ("set `missing: hold`, or " if gaps else "")
            + "shorten `window`; or remove their rows on purpose",
        )
    whole, left = sum(report.possible.values()), sum(report.examples.values())
    if whole and left < (1 - LOST) * whole:
        yield Finding(
            "error",
            f"missing values cost {100 - 100 * left // whole} % of the windows: {left:,} of {whole:,} left",
            "set `missing: hold`, shorten `window`, or leave out the channel with most gaps",
        )
    empty = [label for label, number in report.labels.items() if number == 0]
    if empty:
        yield Finding(
            "error",
            f"label(s) {names(empty)} have no example: rows of it are there, but no whole window",
            "shorten `window`, or remove the label's rows",
        )
    again = [line for line in report.intake if line.startswith("rows equal to another") and "kept" in line]
    for line in again:
        yield Finding("warning", line, "set `repeated: drop`; windows hold some moments twice")
    for line in report.intake:
        if line.startswith("rows with the recording and time of another"):
            yield Finding(
                "warning", line, "name the column that tells them apart as `recording`, or as another `task`"
            )


def _findings(
    pool: TaskPool, plan: EpisodePlan | None, report: DataReport, missing: Missing
) -> Iterator[Finding]:
    if report.missing:
        columns = ", ".join(f"{number} in {name!r}" for name, number in report.missing.items())
        treatments: dict[Missing, tuple[Severity, str]] = {
            "error": ("error", "set `missing` to 'drop' or 'hold', or repair the recordings"),
            "drop": ("note", "examples that touch them are left out; 'hold' would keep them"),
            "hold": ("note", "the channel's last value is held; 'drop' leaves out examples that touch them"),
            "season": ("note", "the value of one season before takes their place, or else the last"),
        }
        severity, remedy = treatments[missing]
        what = f"missing values: {columns}, in {len(report.missing_tasks)} task(s)"
        yield Finding(severity, what, remedy)
    for channel, tasks in report.constant.items():
        if len(tasks) == report.tasks:
            yield Finding(
                "warning",
                f"channel {channel!r} never changes in any task",
                "take it out of `channels`: it says nothing",
            )
        else:
            yield Finding(
                "warning" if len(tasks) > report.tasks / 2 else "note",
                f"channel {channel!r} never changes in {len(tasks)} of {report.tasks} task(s): "
                f"{names(tasks)}",
                "look whether the sensor is stuck or absent there; devices take for 0 what training never "
                "sees move",
            )
    owners = dict(zip(pool.task_ids, pool.groups, strict=True))
    for alike in report.duplicates:
        leaks = len({owners[name] for name in alike}) > 1
        yield Finding(
            "warning",
            f"tasks {names(alike)} hold the same data"
            + (", under different owners: a held-out one may be trained on" if leaks else ""),
            "keep one of them and remove the rows of the others",
        )
    if report.short:
        every = len(report.short) == report.tasks
        yield Finding(
            "error" if every else "note",
            f"{len(report.short)} of {report.tasks} task(s) are too short: {names(report.short)}",
            ("none is left to train on: " if every else "they are left out; to use them ")
            + "shorten `window`, `horizon` or `gap`, or record more",
        )
    if report.one_sided:
        yield Finding(
            "error" if len(report.one_sided) == report.tasks else "warning",
            f"{len(report.one_sided)} task(s) have no label both before and after the cut between support "
            f"and query: {names(report.one_sided)}",
            "declare `timeline: label` if each label was recorded in a session of its own; else record more",
        )
    if plan is not None:
        yield from _few_shots(pool, plan)
    if report.incomplete:
        yield Finding(
            "note",
            f"{len(report.incomplete)} task(s) lack a label: {names(list(report.incomplete))}",
            "their episodes weigh the label 0; record it there to adapt to it",
        )


def _few_shots(pool: TaskPool, plan: EpisodePlan) -> Iterator[Finding]:
    support, query, size = cut_cells(pool, plan)
    for kind, available, wanted in (
        ("support", support, plan.shots),
        ("query", size - query, plan.query_shots),
    ):
        few = (size > 0) & (available < wanted)
        if few.any():
            least = int(available[few].min())
            tasks = [pool.task_ids[task] for task in np.flatnonzero(few.any(axis=1))]
            yield Finding(
                "note",
                f"{len(tasks)} task(s) have fewer than {wanted} {kind} examples somewhere, {least} at least: "
                f"{names(tasks)}",
                f"padding takes their place, weight 0; fewer {kind} shots or a smaller `stride` avoids it",
            )
