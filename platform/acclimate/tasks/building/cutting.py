"""Finish each task of a pool that is being built: treat what is missing, cut its examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.tasks.building.examples import (
    breaks,
    carried,
    example_starts,
    fill_by_season,
    hold_last,
    known_in_window,
    lagged,
)
from acclimate.tasks.building.keys import Keys
from acclimate.tasks.building.placement import Columns, Mapped
from acclimate.tasks.recordings import RecordingSchema

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass
class Missing:
    """Missing values found so far, by column and by task."""

    columns: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)

    def add(self, column: str, task: str, number: int) -> None:
        if number:
            self.columns[column] = self.columns.get(column, 0) + number
            self.tasks[task] = self.tasks.get(task, 0) + number

    def refuse(self) -> None:
        """Raise a DataError that says what is missing, if anything is."""
        if self.columns:
            columns = ", ".join(f"{count} in {name!r}" for name, count in self.columns.items())
            raise DataError(
                f"missing or infinite values: {columns}; in {len(self.tasks)} task(s), the first is "
                f"{next(iter(self.tasks))!r}. Repair the recordings, or set `missing` to 'drop' (leave out "
                "the examples that touch them) or 'hold' (a channel keeps its last value)"
            )


@dataclass(frozen=True)
class Cut:
    """What cutting every task left.

    Attributes:
        rows: first row of each task, and the total: `(tasks + 1,)`.
        cells: `(tasks * classes + 1,)`.
        possible: examples of each task if no value were missing.
    """

    rows: Integers
    cells: Integers
    missing: Missing
    possible: Integers


def cut_tasks(
    columns: Columns,
    schema: RecordingSchema,
    keys: Keys,
    rows: Integers,
    path: Path,
    progress: Callable[[str, int, int], None],
) -> Cut:
    """Finish every task and append the first rows of its examples to `path`."""
    missing = Missing()
    counts, possible = [], []
    with path.open("wb") as file:
        for task, (name, span) in enumerate(zip(keys.task_ids, columns.spans(rows), strict=True)):
            starts, of_class, whole = _cut(columns, schema, keys, span, name, missing)
            file.write(starts.tobytes())
            counts.append(of_class)
            possible.append(whole)
            progress("cutting examples", task + 1, len(keys.task_ids))
    cells = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return Cut(rows, cells, missing, np.array(possible, dtype=np.int64))


def refuse_nothing(cells: Integers, schema: RecordingSchema, keys: Keys) -> None:
    """Raise a DataError if no task has an example."""
    if cells[-1] == 0:
        raise DataError(
            f"no task has an example: one needs {schema.span} usable row(s) in one stretch, and the longest "
            f"task has {int(keys.counts.max())} row(s); shorten the window or the horizon, or look for "
            "missing values and at `recording` and `max_gap`"
        )


def _cut(
    columns: Columns, schema: RecordingSchema, keys: Keys, span: slice, task: str, missing: Missing
) -> tuple[Integers, Integers, int]:
    """First rows of a task's examples by (class, time), their number by class, and of all without a gap."""
    labels = _part(columns.labels, span)
    answered = _answered(columns, schema, span)
    sparse = schema.step > 1 and 0 < answered.mean() < 0.5 / schema.step
    begins = breaks(
        span.stop - span.start,
        _part(columns.times, span),
        _part(columns.recordings, span),
        _labels_that_last(labels, schema, sparse),
        schema.longest_pause,
    )
    every = np.ones(len(begins), dtype=bool)
    step = 1 if sparse else schema.step  # windows end where an answer stands, wherever that is
    whole = example_starts(begins, every, schema.history, schema.span, step)
    if sparse or schema.resample_s:  # nothing is lost where nothing was answered
        whole = whole[answered[whole + schema.window - 1]]
    absent = _absent_inputs(columns, schema, span, begins, task, missing)
    if schema.lags:
        starts = lagged(whole, np.asarray(~absent.any(axis=1)), schema)
    elif schema.holds_in_windows:
        starts = whole[known_in_window(absent, whole, schema.window)] if absent.any() else whole
    else:
        usable = np.asarray(~absent.any(axis=1))
        starts = example_starts(begins, usable, schema.window, schema.span, step)
    starts = _with_targets(columns, schema, span, starts, task, missing)
    if labels is None:
        return starts + span.start, np.array([len(starts)]), len(whole)
    if schema.normal:
        labels = np.where(labels < 0, keys.labels.index(schema.normal[0]), labels)
    missing.add(schema.label or "", task, int((labels < 0).sum()))
    of_class = np.asarray(labels[starts + schema.window - 1])
    starts, of_class = starts[of_class >= 0], of_class[of_class >= 0]
    by_class = np.argsort(of_class, kind="stable")
    return starts[by_class] + span.start, np.bincount(of_class, minlength=len(keys.labels)), len(whole)


def _labels_that_last(
    labels: npt.NDArray[Any] | None, schema: RecordingSchema, sparse: bool
) -> npt.NDArray[Any] | None:
    """Labels of every row, of which no window holds two; None where a label is of its moment alone."""
    if labels is None or schema.span == 1 or schema.normal or sparse:
        return None
    return carried(labels)


def _answered(columns: Columns, schema: RecordingSchema, span: slice) -> Mask:
    """Which rows of a task hold an answer; all where a row without one is no gap."""
    if columns.labels is not None and not schema.normal:
        return np.asarray(columns.labels[span] >= 0)
    if columns.targets is not None and schema.kind == "regression":
        return np.asarray(~np.isnan(columns.targets[span]).any(axis=1))
    return np.ones(span.stop - span.start, dtype=bool)


def _absent_inputs(
    columns: Columns, schema: RecordingSchema, span: slice, begins: Mask, task: str, missing: Missing
) -> Mask:
    """Which values are missing, (rows, channels), counted; some are filled in place."""
    if columns.values.dtype.kind != "f":
        return np.zeros((len(begins), 1), dtype=bool)
    absent = np.isnan(columns.values[span]).reshape(len(begins), -1)
    for channel, number in zip(schema.channels, absent.sum(axis=0).tolist(), strict=False):
        missing.add(channel, task, number)
    if schema.missing in ("hold", "season") and not schema.holds_in_windows and absent.any():
        columns.values[span] = (
            hold_last(columns.values[span], begins)
            if schema.missing == "hold"
            else fill_by_season(columns.values[span], begins, schema.seasons)
        )
        absent = np.isnan(columns.values[span]).reshape(len(begins), -1)
    return absent


def _with_targets(
    columns: Columns, schema: RecordingSchema, span: slice, starts: Integers, task: str, missing: Missing
) -> Integers:
    """The examples whose targets are there: at the window's last row, or in every row that is forecast."""
    if columns.targets is None:
        return starts
    absent = np.isnan(np.asarray(columns.targets[span]))
    for target, number in zip(schema.targets, absent.sum(axis=0).tolist(), strict=True):
        missing.add(target, task, number if target not in schema.channels else 0)
    if not absent.any():
        return starts
    rows = starts[:, None] + schema.history - 1 + np.array(schema.steps_ahead or (0,))
    return starts[~absent.any(axis=1)[rows].any(axis=1)]


def _part(column: Mapped | None, span: slice) -> npt.NDArray[Any] | None:
    return None if column is None else column[span]
