"""Put the rows of each task of a pool that is being built in order, on one clock, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.tasks.building.examples import repeats, row_order
from acclimate.tasks.building.keys import Keys
from acclimate.tasks.building.ledger import Ledger
from acclimate.tasks.building.placement import Columns, Mapped
from acclimate.tasks.columns.localtime import repeats_an_hour, run_on, to_utc
from acclimate.tasks.recordings import RecordingSchema

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def order_tasks(
    columns: Columns,
    schema: RecordingSchema,
    keys: Keys,
    rows: Integers,
    ledger: Ledger,
    progress: Callable[[str, int, int], None],
) -> Integers:
    """Sort every task in place; the first row of each and the total, (tasks + 1,).

    Rows that are dropped are closed up: those of a task move to where the task before ends.

    Raises:
        DataError: rows are repeated and the schema refuses that, or a clock cannot be read.
    """
    begins = [0]
    for task, (name, span) in enumerate(zip(keys.task_ids, columns.spans(rows), strict=True)):
        span = _closed_up(columns, _ordered(columns, schema, keys, span, name, ledger), begins[-1])
        begins.append(span.stop)
        progress("ordering rows", task + 1, len(keys.task_ids))
    return np.array(begins, dtype=np.int64)


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
    unlike = same & ~whole
    if schema.readings:  # of which each channel has a row of its own at one moment
        unlike = _unlike_readings(times, recordings, others)
    ledger.count("rows with the recording and time of another, but other values, kept", int(unlike.sum()))
    if schema.repeated == "drop":
        ledger.count("rows equal to another in all that is declared, left out", int(whole.sum()))
        return Rows(span, ~whole)
    ledger.count("rows equal to another in all that is declared, kept", int(whole.sum()))
    return Rows(span, np.ones(len(whole), dtype=bool))


def _unlike_readings(
    times: npt.NDArray[np.float64] | None, recordings: Integers | None, others: list[npt.NDArray[Any]]
) -> Mask:
    """Which rows have another value than the reading before of the same channel, recording and time."""
    found = np.zeros(len(others[0]), dtype=bool)
    for column in others:
        flat = column.reshape(len(found), -1)
        for channel in flat.T if np.issubdtype(flat.dtype, np.floating) else ():
            held = np.flatnonzero(~np.isnan(channel))
            if len(held):
                same, whole = repeats(
                    None if times is None else times[held],
                    None if recordings is None else recordings[held],
                    [channel[held]],
                )
                found[held[same & ~whole]] = True
    return found


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


def _part(column: Mapped | None, span: slice) -> npt.NDArray[Any] | None:
    return None if column is None else column[span]
