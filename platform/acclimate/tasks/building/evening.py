"""Gather the rows of each task of a pool that is being built into even steps, as a device does readings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.files import reserve
from acclimate.tasks.building.ledger import Ledger
from acclimate.tasks.building.placement import Columns, Mapped
from acclimate.tasks.recordings import RecordingSchema
from acclimate_device import calendar
from acclimate_device.resampling import gathered, step_of

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Grid:
    """The even steps of one task.

    Attributes:
        group: of each row the step that it lies in, counted from 0, (rows,).
        place: of each step that holds a row, the row that becomes of it, (steps,).
        source: of each row that is made, the latest step that holds a row, (made,).
        moments: ends of the steps, (made,).
    """

    group: Integers
    place: Integers
    source: Integers
    moments: npt.NDArray[np.float64]


def even_tasks(
    columns: Columns,
    schema: RecordingSchema,
    rows: Integers,
    folder: Path,
    ledger: Ledger,
    progress: Callable[[str, int, int], None],
) -> tuple[Columns, Integers]:
    """Columns with a row for each even step in place of those in `folder`, and the first row of each task."""
    lengths = (len(_grid(columns, schema, span).moments) for span in columns.spans(rows))
    begins = np.cumsum([0, *lengths]).astype(np.int64)
    made = _allocated(columns, int(begins[-1]), folder)
    held = 0
    for task, (span, into) in enumerate(zip(columns.spans(rows), made.spans(begins), strict=True)):
        grid = _grid(columns, schema, span)
        held += len(grid.place)
        _fill(columns, made, schema, span, grid, into)
        progress("evening steps", task + 1, len(begins) - 1)
    ledger.count(f"rows gathered into steps of {schema.resample_s:g} s", int(rows[-1]))
    ledger.count("even steps without a row, which are gaps", int(begins[-1]) - held)
    return made, begins


def _grid(columns: Columns, schema: RecordingSchema, span: slice) -> _Grid:
    assert columns.times is not None
    number = step_of(columns.times[span], schema.even_step)
    recording = np.zeros(len(number)) if columns.recordings is None else np.asarray(columns.recordings[span])
    first = np.ones(len(number), dtype=bool)
    first[1:] = (np.diff(number) != 0) | (np.diff(recording) != 0)
    steps, of = number[first], recording[first]
    apart = np.diff(steps)
    between = np.where((np.diff(of) == 0) & (apart > 1) & (apart <= schema.pause), apart - 1, 0)
    place = np.arange(len(steps)) + np.concatenate([[0], np.cumsum(between)]).astype(np.int64)
    every = np.arange(int(place[-1]) + 1 if len(place) else 0)
    source = np.searchsorted(place, every, side="right") - 1
    moments = np.asarray((steps[source] + every - place[source]) * schema.even_step, dtype=np.float64)
    return _Grid(np.cumsum(first) - 1, place, source, moments)


def _fill(
    columns: Columns, made: Columns, schema: RecordingSchema, span: slice, grid: _Grid, into: slice
) -> None:
    recorded = len(schema.channels)
    values = _gathered(columns.values[span][:, :recorded], grid, np.isin(schema.channels, schema.relative))
    if schema.calendar:
        told = calendar.inputs(grid.moments * schema.time_unit_s, schema.calendar)
        values = np.concatenate([values, told.astype(values.dtype)], axis=1)
    made.values[into] = values
    if columns.targets is not None and made.targets is not None:
        made.targets[into] = _gathered(columns.targets[span], grid, np.isin(schema.targets, schema.relative))
    if made.times is not None:
        made.times[into] = grid.moments
    if columns.recordings is not None and made.recordings is not None:
        first = np.searchsorted(grid.group, np.arange(len(grid.place)))
        made.recordings[into] = columns.recordings[span][first][grid.source]
    if columns.labels is not None and made.labels is not None:
        made.labels[into] = _labels(columns.labels[span], grid)


def _labels(labels: Integers, grid: _Grid) -> Integers:
    """The last label of each step; a step without a row has that of its neighbours where they agree."""
    held, known = np.full(len(grid.place) + 1, -1, dtype=np.int64), labels >= 0
    held[grid.group[known]] = labels[known]
    before, after = held[grid.source], held[grid.source + 1]
    is_held = np.isin(np.arange(len(grid.source)), grid.place)
    return np.where(is_held | (before == after), before, -1)


def _gathered(values: npt.NDArray[Any], grid: _Grid, last: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    made = np.full((len(grid.moments), values.shape[1]), np.nan, dtype=values.dtype)
    made[grid.place] = gathered(values, grid.group, last)
    return made


def _allocated(columns: Columns, total: int, folder: Path) -> Columns:
    """Columns of other lengths in the files of these, whose rows stay readable as long as they are held."""

    def column(name: str, before: Mapped | None) -> Mapped | None:
        if before is None:
            return None
        path = folder / f"{name}.even"
        mapped = np.lib.format.open_memmap(path, "w+", before.dtype, (total, *before.shape[1:]))
        reserve(path)
        path.replace(folder / f"{name}.npy")
        return mapped

    values = column("values", columns.values)
    assert values is not None
    names = ("targets", "times", "recordings", "labels")
    return replace(columns, values=values, **{name: column(name, getattr(columns, name)) for name in names})
