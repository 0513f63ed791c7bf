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
    example_starts,
    fill_by_season,
    forecast_starts,
    hold_last,
    row_order,
)
from acclimate.tasks.keys import Keys
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


def cut_tasks(
    columns: Columns,
    schema: RecordingSchema,
    keys: Keys,
    rows: Integers,
    path: Path,
    progress: Callable[[str, int, int], None],
) -> tuple[Integers, Missing]:
    """Finish every task and append the first rows of its examples to `path`.

    Returns:
        The cells, `(tasks * classes + 1,)`, and what was missing.

    Raises:
        DataError: values are missing and the schema refuses that, or there is not a single example.
    """
    missing = Missing()
    counts = []
    with path.open("wb") as file:
        for task, name in enumerate(keys.task_ids):
            span = slice(int(rows[task]), int(rows[task + 1]))
            starts, of_class = _cut(columns, schema, keys, span, name, missing)
            file.write(starts.tobytes())
            counts.append(of_class)
            progress("cutting examples", task + 1, len(keys.task_ids))
    if schema.missing == "error":
        missing.refuse()
    cells = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    if cells[-1] == 0:
        raise DataError(
            f"no task has an example: one needs {schema.span} usable row(s) in one stretch, and the longest "
            f"task has {int(keys.counts.max())} row(s); shorten the window or the horizon, or look for "
            "missing values and at `recording` and `max_gap`"
        )
    return cells, missing


def _cut(
    columns: Columns, schema: RecordingSchema, keys: Keys, span: slice, task: str, missing: Missing
) -> tuple[Integers, Integers]:
    """Finish one task in place; the first rows of its examples by (class, time), and the number by class."""
    order = row_order(_part(columns.times, span), _part(columns.recordings, span))
    if order is not None:
        for column in columns.present:
            column[span] = column[span][order]
    labels = _part(columns.labels, span)
    rows = span.stop - span.start
    begins = breaks(
        rows,
        _part(columns.times, span),
        _part(columns.recordings, span),
        labels if schema.span > 1 else None,
        schema.max_gap,
    )
    inputs, targets = _usable(columns, schema, span, begins, task, missing)
    if schema.kind == "forecasting":
        starts = forecast_starts(begins, inputs, targets, schema)
    else:
        starts = example_starts(begins, inputs & targets, schema.span, schema.step)
    if labels is None:
        return starts + span.start, np.array([len(starts)])
    of_class = np.asarray(labels[starts])
    by_class = np.argsort(of_class, kind="stable")
    return starts[by_class] + span.start, np.bincount(of_class, minlength=len(keys.labels))


def _usable(
    columns: Columns, schema: RecordingSchema, span: slice, begins: Mask, task: str, missing: Missing
) -> tuple[Mask, Mask]:
    """Which rows inputs and targets may touch; held values are filled in, everything missing is counted."""
    inputs, targets = np.ones(len(begins), dtype=bool), np.ones(len(begins), dtype=bool)
    if columns.values.dtype == np.float32:
        absent = np.isnan(columns.values[span]).reshape(len(begins), -1)
        for channel, number in zip(schema.channels, absent.sum(axis=0).tolist(), strict=False):
            missing.add(channel, task, number)
        if schema.missing in ("hold", "season") and absent.any():
            columns.values[span] = (
                hold_last(columns.values[span], begins)
                if schema.missing == "hold"
                else fill_by_season(columns.values[span], begins, schema.seasons)
            )
            absent = np.isnan(columns.values[span]).reshape(len(begins), -1)
        inputs &= ~absent.any(axis=1)
    if columns.targets is not None:
        absent = np.isnan(columns.targets[span])
        for target, number in zip(schema.targets, absent.sum(axis=0).tolist(), strict=True):
            missing.add(target, task, number if target not in schema.channels else 0)
        targets &= ~absent.any(axis=1)
    if columns.labels is not None:
        absent = columns.labels[span] < 0
        missing.add(schema.label or "", task, int(absent.sum()))
        targets &= ~absent
    return inputs, targets


def _part(column: Mapped | None, span: slice) -> npt.NDArray[Any] | None:
    return None if column is None else column[span]
