"""The second pass over a source: every row goes to its task's place, whatever the order of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.files import reserve
from acclimate.tasks.building.keys import Keys
from acclimate.tasks.building.ledger import Ledger
from acclimate.tasks.columns.arrays import read_lists, read_numbers
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Batch, Source
from acclimate_device import calendar
from acclimate_device.preprocessing import spellings

DISTINCT_ROWS = 8192
"""Rows of a batch that are looked at for steps that float32 loses."""
ROUNDING = 1e-12
SAME = 1e-9
"""What arithmetic in float64 leaves behind is smaller, of a number and of all numbers' range."""

Integers = npt.NDArray[np.int64]
Mapped = np.memmap[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Columns:
    """All rows on disk, those of one task together; a column that the schema does not declare is None."""

    values: Mapped
    targets: Mapped | None
    times: Mapped | None
    recordings: Mapped | None
    labels: Mapped | None

    @property
    def present(self) -> list[Mapped]:
        every = (self.values, self.targets, self.times, self.recordings, self.labels)
        return [column for column in every if column is not None]


def place_rows(
    source: Source,
    schema: RecordingSchema,
    keys: Keys,
    rows: Integers,
    folder: Path,
    progress: Callable[[str, int, int], None],
    ledger: Ledger,
    exact: bool,
) -> Columns:
    """Write the columns of `source` to `folder`, the rows of task t at `rows[t]:rows[t + 1]`, unsorted.

    Rows of tasks that `keys` does not know are another shard's. Whether channels need float64 is told by all
    rows nevertheless, so that shards agree.

    Args:
        exact: keep channels as float64 whatever they hold.

    Raises:
        DataError: a column holds what it must not, or the source changed since its keys were read.
    """
    try:
        if not exact:
            return _placed(source, schema, keys, rows, folder, progress, ledger, np.float32)
    except _Finer as finer:
        ledger.note(f"channel {finer.column!r} has steps that float32 loses: channels are kept as float64")
    return _placed(source, schema, keys, rows, folder, progress, ledger, np.float64)


class _Finer(Exception):  # noqa: N818 - caught where it is meant
    """A channel whose steps float32 would lose."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def _placed(
    source: Source,
    schema: RecordingSchema,
    keys: Keys,
    rows: Integers,
    folder: Path,
    progress: Callable[[str, int, int], None],
    ledger: Ledger,
    dtype: Any,
) -> Columns:
    total = int(rows[-1])
    cursor = rows[:-1].copy()
    columns: Columns | None = None
    done = 0
    for batch in source.batches(schema.columns):
        if batch.num_rows == 0:
            continue
        values = _read_values(batch, schema)
        times = keys.clock.read(batch.column(keys.clock.column), batch.where) if keys.clock else None
        if dtype == np.float32 and values.dtype == np.float64:
            for index in _finer_than_float32(values):
                raise _Finer(schema.channels[index])
        if schema.calendar and times is not None:
            moments = times * schema.time_unit_s
            values = np.concatenate([values, calendar.inputs(moments, schema.calendar)], axis=1)
        if columns is None:
            columns = _allocate(schema, values, dtype, total, folder)
        task = keys.tasks_of(batch)
        ours = slice(None) if (task >= 0).all() else task >= 0
        place = _next_places(cursor, task[ours], rows, source)
        done += len(place)
        columns.values[place] = values[ours]
        if columns.targets is not None:
            columns.targets[place] = _targets(batch, schema)[ours]
        if columns.times is not None and times is not None:
            columns.times[place] = times[ours]
        if columns.recordings is not None:
            columns.recordings[place] = keys.recordings_of(batch)[ours]
        if columns.labels is not None:
            columns.labels[place] = keys.labels_of(batch)[ours]
        progress("placing rows", done, total)
    if columns is None or done != total:
        raise _changed(source)
    return columns


def _next_places(cursor: Integers, task: Integers, rows: Integers, source: Source) -> Integers:
    """The place of each row of a batch, in the order of the batch; advances `cursor`."""
    order = np.argsort(task, kind="stable")
    in_order = task[order]
    place = np.empty(len(task), dtype=np.int64)
    place[order] = cursor[in_order] + np.arange(len(task)) - np.searchsorted(in_order, in_order)
    cursor += np.bincount(task, minlength=len(cursor))
    if (cursor > rows[1:]).any():
        raise _changed(source)
    return place


def _changed(source: Source) -> DataError:
    return DataError(f"{source.name} changed while it was read: build again when it is complete")


def _allocate(
    schema: RecordingSchema, values: npt.NDArray[Any], dtype: Any, total: int, folder: Path
) -> Columns:
    def column(name: str, dtype: Any, *axes: int) -> Mapped:
        path = folder / f"{name}.npy"
        mapped = np.lib.format.open_memmap(path, "w+", dtype, (total, *axes))
        reserve(path)
        return mapped

    return Columns(
        values=column("values", np.uint8 if values.dtype == np.uint8 else dtype, *values.shape[1:]),
        targets=column("targets", np.float32, len(schema.targets)) if schema.targets else None,
        times=column("times", np.float64) if schema.time else None,
        recordings=column("recordings", np.int64) if schema.recording else None,
        labels=column("labels", np.int64) if schema.label else None,
    )


def _read_values(batch: Batch, schema: RecordingSchema) -> npt.NDArray[Any]:
    if schema.image_shape:
        name = schema.channels[0]
        return read_lists(name, batch.column(name), schema.image_shape, batch.where)
    return _numbers(batch, schema.channels, schema)


def _targets(batch: Batch, schema: RecordingSchema) -> npt.NDArray[np.float64]:
    values = _numbers(batch, schema.targets, schema)
    for index in _finer_than_float32(values):
        raise DataError(
            f"target {schema.targets[index]!r} has steps that float32 loses, for its numbers are large: give "
            "its difference from row to row, or from a fixed value, as a column of its own"
        )
    return values


def _numbers(batch: Batch, names: tuple[str, ...], schema: RecordingSchema) -> npt.NDArray[np.float64]:
    words = schema.absent_words
    numbers = np.stack([read_numbers(name, batch.column(name), batch.where, words) for name in names], axis=1)
    if schema.absent_numbers:
        numbers[np.isin(numbers, spellings(schema.absent_numbers))] = np.nan
    return numbers


def _finer_than_float32(values: npt.NDArray[np.float64]) -> Iterator[int]:
    """The columns of which float32 would make different values one: more than a twentieth of them.

    What only rounding has made different, as sums and differences do in the last digits, is no step.
    """
    if values.ndim > 2:
        return
    for index, column in enumerate(values[:DISTINCT_ROWS].T):
        distinct = np.unique(column[~np.isnan(column)])
        lost = np.diff(distinct.astype(np.float32)) == 0
        rounding = np.minimum(
            ROUNDING * np.abs(distinct[1:]), SAME * np.ptp(distinct) if len(distinct) else 0.0
        )
        if (lost & (np.diff(distinct) > rounding)).sum() > len(distinct) / 20:
            yield index
