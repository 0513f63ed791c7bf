"""The second pass over a source: every row goes to its task's place, whatever the order of the source."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.files import release, reserve
from acclimate.tasks.building.keys import Keys
from acclimate.tasks.building.ledger import Ledger
from acclimate.tasks.columns.arrays import read_lists, read_numbers
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Batch, Source
from acclimate_device import calendar
from acclimate_device.preprocessing import spellings

DISTINCT_ROWS = 8192
"""Rows of a batch that are looked at for steps that float32 loses."""
HELD_BYTES = 1 << 24
"""Of rows that are written together: where those of many tasks alternate, each is on a page of its own."""
PIECE_ROWS = 8192
"""Rows, in the order of their places, that touch pages before those leave this process's memory."""
TOUCHED_ROWS = 1 << 18
"""Rows, of one task after the other, likewise."""
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

    def write(self, order: Integers, place: Integers, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Put rows to their places, in this order: an array for each column that is present."""
        in_order = bool((np.diff(order) == 1).all())
        for begin in range(0, len(order), PIECE_ROWS):
            piece = slice(begin, begin + PIECE_ROWS)
            first, last = int(place[piece][0]), int(place[piece][-1])
            apart = last - first >= len(place[piece])
            into = place[piece] if apart else slice(first, last + 1)
            for column, values in zip(self.present, arrays, strict=True):
                column[into] = values[piece] if in_order else values[order[piece]]
            self.release()

    def spans(self, rows: Integers) -> Iterator[slice]:
        """Of each task its rows; what was touched of many leaves this process's memory."""
        touched = 0
        for begin, end in itertools.pairwise(rows.tolist()):
            yield slice(begin, end)
            touched += end - begin
            if touched >= TOUCHED_ROWS:
                self.release()
                touched = 0

    def release(self) -> None:
        """Take what was touched out of this process's memory; it stays in the files."""
        for column in self.present:
            release(column)


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
    held: list[list[npt.NDArray[Any]]] = []
    done = size = 0
    for batch in source.batches(schema.columns):
        if batch.num_rows == 0:
            continue
        task = keys.tasks_of(batch)
        arrays = _arrays(batch, schema, keys, dtype)
        if columns is None:
            columns = _allocate(schema, arrays[0], total, folder)
        held.append([one if (task >= 0).all() else one[task >= 0] for one in (task, *arrays)])
        size += sum(one.nbytes for one in held[-1])
        done += len(held[-1][0])
        if size >= HELD_BYTES:
            _write(columns, held, cursor, rows, source)
            held, size = [], 0
        progress("placing rows", done, total)
    if held and columns is not None:
        _write(columns, held, cursor, rows, source)
    if columns is None or (cursor != rows[1:]).any():
        raise _changed(source)
    return columns


def _write(
    columns: Columns, held: list[list[npt.NDArray[Any]]], cursor: Integers, rows: Integers, source: Source
) -> None:
    """Place the rows of some batches, each its tasks and its columns."""
    task, *arrays = (np.concatenate(parts) for parts in zip(*held, strict=True))
    columns.write(*_next_places(cursor, task, rows, source), arrays)


def _arrays(batch: Batch, schema: RecordingSchema, keys: Keys, dtype: Any) -> list[npt.NDArray[Any]]:
    """What `Columns.present` will hold of a batch."""
    values = _read_values(batch, schema)
    times = keys.clock.read(batch.column(keys.clock.column), batch.where) if keys.clock else None
    if dtype == np.float32 and values.dtype == np.float64:
        for index in _finer_than_float32(values):
            raise _Finer(schema.channels[index])
    if schema.calendar and times is not None:
        moments = times * schema.time_unit_s
        values = np.concatenate([values, calendar.inputs(moments, schema.calendar)], axis=1)
    made = [values if values.dtype == np.uint8 else values.astype(dtype)]
    made += [_targets(batch, schema).astype(np.float32)] if schema.targets else []
    made += [times] if times is not None else []
    made += [keys.recordings_of(batch)] if schema.recording else []
    return made + ([keys.labels_of(batch)] if schema.label else [])


def _next_places(
    cursor: Integers, task: Integers, rows: Integers, source: Source
) -> tuple[Integers, Integers]:
    """Rows by task, and the place of each, which then rises; advances `cursor`."""
    order = np.argsort(task, kind="stable")
    in_order = task[order]
    place = cursor[in_order] + np.arange(len(task)) - np.searchsorted(in_order, in_order)
    cursor += np.bincount(task, minlength=len(cursor))
    if (cursor > rows[1:]).any():
        raise _changed(source)
    return order, place


def _changed(source: Source) -> DataError:
    return DataError(f"{source.name} changed while it was read: build again when it is complete")


def _allocate(schema: RecordingSchema, values: npt.NDArray[Any], total: int, folder: Path) -> Columns:
    def column(name: str, dtype: Any, *axes: int) -> Mapped:
        path = folder / f"{name}.npy"
        mapped = np.lib.format.open_memmap(path, "w+", dtype, (total, *axes))
        reserve(path)
        return mapped

    return Columns(
        values=column("values", values.dtype, *values.shape[1:]),
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
