"""Finish each task of a pool that is being built: sort its rows, treat what is missing, cut its examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.tasks.examples import (
    breaks,
    carried,
    example_starts,
    fill_by_season,
    hold_last,
    known_in_window,
    lagged,
    repeats,
    row_order,
)
from acclimate.tasks.keys import Keys
from acclimate.tasks.ledger import Ledger
from acclimate.tasks.localtime import repeats_an_hour, run_on, to_utc
from acclimate.tasks.placement import Columns, Mapped
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
        rows: first row of each task, and the total: `(tasks + 1,)`; fewer than were placed if some were left
            out.
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
    ledger: Ledger,
    progress: Callable[[str, int, int], None],
) -> Cut:
    """Finish every task and append the first rows of its examples to `path`.

    Rows that are dropped are closed up: those of a task move to where the task before ends.

    Raises:
        DataError: rows are repeated and the schema refuses that, or a clock cannot be read.
    """
    missing = Missing()
    counts, possible, begins = [], [], [0]
    with path.open("wb") as file:
        for task, name in enumerate(keys.task_ids):
            span = slice(int(rows[task]), int(rows[task + 1]))
            span = _closed_up(columns, _ordered(columns, schema, keys, span, name, ledger), begins[-1])
            starts, of_class, whole = _cut(columns, schema, keys, span, name, missing)
            file.write(starts.tobytes())
            counts.append(of_class)
            possible.append(whole)
            begins.append(span.stop)
            progress("cutting examples", task + 1, len(keys.task_ids))
    cells = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return Cut(np.array(begins, dtype=np.int64), cells, missing, np.array(possible, dtype=np.int64))


def refuse_nothing(cells: Integers, schema: RecordingSchema, keys: Keys) -> None:
    """Raise a DataError if no task has an example."""
    if cells[-1] == 0:
        raise DataError(
            f"no task has an example: one needs {schema.span} usable row(s) in one stretch, and the longest "
            f"task has {int(keys.counts.max())} row(s); shorten the window or the horizon, or look for "
            "missing values and at `recording` and `max_gap`"
        )


def _ordered(
    columns: Columns, schema: RecordingSchema, keys: Keys, span: slice, task: str, ledger: Ledger
) -> Rows:
    """Put the rows of a task in order in place, and say which of them stay."""
    if columns.times is not None and keys.clock is not None and keys.clock.dated and not keys.clock.zoned:
        columns.times[span] = _on_one_clock(columns.times[span], schema, task, ledger)
    order = row_order(_part(columns.times, span), _part(columns.recordings, span))
    if order is not None:
        ledger.count("rows put in order of recording and time", int((order != np.arange(len(order))).sum()))
        for column in columns.present:
            column[span] = column[span][order]
    times, recordings = _part(columns.times, span), _part(columns.recordings, span)
    others = [
        column[span] for column in (columns.values, columns.targets, columns.labels) if column is not None
    ]
    same, whole = repeats(times, recordings, others)
    if schema.repeated == "error" and same.any():
        raise DataError(
            f"task {task!r}: {int(same.sum())} row(s) have the recording and time of another, first at "
            f"{_moment(times, int(np.argmax(same)), keys)}: remove them, or set `repeated` to 'drop'"
        )
    if keys.clock is not None and not keys.clock.zoned and keys.clock.dated and not schema.time_zone:
        _refuse_an_hour_twice(times, task)
    ledger.count(
        "rows with the recording and time of another, but other values, kept", int((same & ~whole).sum())
    )
    if schema.repeated == "drop":
        ledger.count("rows equal to another in all that is declared, left out", int(whole.sum()))
        return Rows(span, ~whole)
    ledger.count("rows equal to another in all that is declared, kept", int(whole.sum()))
    return Rows(span, np.ones(len(whole), dtype=bool))


@dataclass(frozen=True)
class Rows:
    """Where a task's rows lie, and which of them stay."""

    span: slice
    stay: Mask


def _on_one_clock(
    times: npt.NDArray[np.float64], schema: RecordingSchema, task: str, ledger: Ledger
) -> npt.NDArray[np.float64]:
    if schema.time_zone is not None:
        ledger.count(f"local times of {schema.time_zone} read as UTC", len(times))
        return to_utc(times, schema.time_zone, task)
    moved, rows = run_on(times)
    ledger.count("rows after the end of summer time, whose local clock was let run on for an hour", rows)
    return moved


def _refuse_an_hour_twice(times: npt.NDArray[np.float64] | None, task: str) -> None:
    if times is not None and repeats_an_hour(times):
        raise DataError(
            f"task {task!r}: every moment of an hour at the end of summer time comes twice, and the rows are "
            "in no order that tells them apart: write times in UTC, or keep the order of recording"
        )


def _moment(times: npt.NDArray[np.float64] | None, index: int, keys: Keys) -> str:
    assert times is not None
    if keys.clock is not None and keys.clock.dated:
        return str(np.datetime64(round(times[index] * 1e3), "ms"))
    return f"{times[index]:g}"


def _closed_up(columns: Columns, rows: Rows, begin: int) -> slice:
    """Move the rows that stay to `begin`, if they lie elsewhere."""
    target = slice(begin, begin + int(rows.stay.sum()))
    if target != rows.span:
        for column in columns.present:
            column[target] = column[rows.span][rows.stay]
    return target


def _cut(
    columns: Columns, schema: RecordingSchema, keys: Keys, span: slice, task: str, missing: Missing
) -> tuple[Integers, Integers, int]:
    """First rows of a task's examples by (class, time), their number by class, and of all without a gap."""
    labels = _part(columns.labels, span)
    begins = breaks(
        span.stop - span.start,
        _part(columns.times, span),
        _part(columns.recordings, span),
        carried(labels) if labels is not None and schema.span > 1 and not schema.normal else None,
        schema.max_gap,
    )
    every = np.ones(len(begins), dtype=bool)
    whole = example_starts(begins, every, schema.history, schema.span, schema.step)
    absent = _absent_inputs(columns, schema, span, begins, task, missing)
    if schema.lags:
        starts = lagged(whole, np.asarray(~absent.any(axis=1)), schema)
    elif schema.holds_in_windows:
        starts = whole[known_in_window(absent, whole, schema.window)] if absent.any() else whole
    else:
        usable = np.asarray(~absent.any(axis=1))
        starts = example_starts(begins, usable, schema.window, schema.span, schema.step)
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
