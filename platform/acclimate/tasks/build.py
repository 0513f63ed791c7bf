"""Build a task pool from a source in two passes, with memory for one batch and one task.

Pass 1 reads the key columns and counts each task's rows, which fixes where they go. Pass 2 streams every
batch and scatters its rows there. Then each task is put in order and its examples are cut. The pool is
written beside its place and renamed into it, so an interrupted build leaves nothing that opens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.tasks.columns import read_lists, read_numbers, read_times
from acclimate.tasks.examples import breaks, example_starts, hold_last, row_order
from acclimate.tasks.keys import Keys, read_keys
from acclimate.tasks.pool import FORMAT, PoolInfo, TaskPool
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source

Array = npt.NDArray[Any]
Mapped = np.memmap[Any, np.dtype[Any]]
Integers = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0 if unknown)."""


def build_pool(
    source: Source, schema: RecordingSchema, directory: Path | str, *, progress: Progress | None = None
) -> TaskPool:
    """Build a pool in `directory`, or open the one there if it was built from the same source and schema.

    Raises:
        DataError: a column is missing or unusable, there are missing values and `missing` is `error`, a
            declared label never occurs or an undeclared one does, or no task has an example.
    """
    directory = Path(directory)
    fingerprint = fingerprint_of(source, schema)
    if _fingerprint_in(directory) != fingerprint:
        schema.check_columns(source.columns)
        report = progress or (lambda what, done, total: None)
        keys = read_keys(source, schema, report)
        with _replacing(directory) as scratch:
            _write(source, schema, keys, scratch, report, fingerprint)
    return TaskPool.open(directory)


def build_in_memory(source: Source, schema: RecordingSchema) -> TaskPool:
    """The same pool without a place on disk, for data that fits in memory."""
    with tempfile.TemporaryDirectory(prefix="acclimate-pool-") as scratch:
        build_pool(source, schema, Path(scratch) / "pool")
        return TaskPool.open(Path(scratch) / "pool", mmap=False)


def fingerprint_of(source: Source, schema: RecordingSchema) -> str:
    """Of everything that decides a pool's content: source, schema and the pool format."""
    text = json.dumps([FORMAT, source.fingerprint, schema.as_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprint_in(directory: Path) -> str | None:
    try:
        return str(json.loads((directory / "pool.json").read_text())["fingerprint"])
    except (OSError, ValueError, KeyError):
        return None


@contextmanager
def _replacing(directory: Path) -> Iterator[Path]:
    """A scratch directory that takes the place of `directory` on success and vanishes on failure."""
    if directory.exists() and any(directory.iterdir()) and not (directory / "pool.json").exists():
        raise DataError(f"{directory} holds other files than a task pool: choose another place")
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        if directory.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
            os.replace(directory, retired)
            os.replace(scratch, directory)
            shutil.rmtree(retired, ignore_errors=True)
        else:
            os.replace(scratch, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass
class _Columns:
    """The scattered columns of all tasks; rows of one task lie together."""

    values: Mapped
    targets: Mapped | None
    times: Mapped | None
    recordings: Mapped | None
    labels: Mapped | None

    def present(self) -> list[Mapped]:
        every = (self.values, self.targets, self.times, self.recordings, self.labels)
        return [column for column in every if column is not None]


def _write(
    source: Source,
    schema: RecordingSchema,
    keys: Keys,
    scratch: Path,
    progress: Progress,
    fingerprint: str,
) -> None:
    rows = np.concatenate([[0], np.cumsum(keys.counts)]).astype(np.int64)
    columns = _scatter(source, schema, keys, rows, scratch, progress)
    missing = _Missing(schema)
    cells = [0]
    with (scratch / "starts.bin").open("wb") as file:
        for task, name in enumerate(keys.task_ids):
            starts, counts = _finish_task(
                columns, schema, keys, slice(rows[task], rows[task + 1]), name, missing
            )
            file.write(starts.tobytes())
            cells.extend((cells[-1] + np.cumsum(counts)).tolist())
            progress("cutting examples", task + 1, len(keys.task_ids))
    missing.refuse_if_declared()
    if cells[-1] == 0:
        raise DataError(
            f"no task has an example: one needs {schema.span} usable rows in a stretch, and the longest task "
            f"has {int(keys.counts.max())} rows; shorten the window or horizon, or check `recording`, "
            "`max_gap` and missing values with `acclimate data report`"
        )
    for column in columns.present():
        column.flush()
    for name in ("recordings.npy", "labels.npy"):
        (scratch / name).unlink(missing_ok=True)
    np.save(scratch / "rows.npy", rows)
    np.save(scratch / "cells.npy", np.array(cells, dtype=np.int64))
    info = PoolInfo(
        schema=schema,
        labels=keys.labels,
        task_ids=keys.task_ids,
        groups=keys.groups,
        fingerprint=fingerprint,
        content_hash=_content_hash(scratch),
        missing=missing.by_column,
        missing_tasks=missing.by_task,
    )
    (scratch / "pool.json").write_text(json.dumps(info.as_dict()) + "\n")


def _scatter(
    source: Source, schema: RecordingSchema, keys: Keys, rows: Integers, scratch: Path, progress: Progress
) -> _Columns:
    total = int(rows[-1])
    shape = schema.image_shape or (len(schema.channels),)
    cursor = rows[:-1].copy()
    columns: _Columns | None = None
    done = 0
    for batch in source.batches(schema.columns):
        if batch.num_rows == 0:
            continue
        values = _read_values(batch, schema)
        if columns is None:

            def create(name: str, dtype: Any, *axes: int) -> Mapped:
                return np.lib.format.open_memmap(scratch / f"{name}.npy", "w+", dtype, (total, *axes))

            columns = _Columns(
                values=create("values", values.dtype, *shape),
                targets=create("targets", np.float32, len(schema.targets)) if schema.targets else None,
                times=create("times", np.float64) if schema.time else None,
                recordings=create("recordings", np.int64) if schema.recording else None,
                labels=create("labels", np.int64) if schema.label else None,
            )
        task = keys.tasks_of(batch)
        order = np.argsort(task, kind="stable")
        sorted_task = task[order]
        rank = np.arange(len(task)) - np.searchsorted(sorted_task, sorted_task)
        place = cursor[sorted_task] + rank
        np.add.at(cursor, task, 1)
        columns.values[place] = values[order]
        if columns.targets is not None:
            read = [read_numbers(name, batch.column(name)) for name in schema.targets]
            columns.targets[place] = np.stack(read, axis=1)[order]
        if columns.times is not None and schema.time:
            columns.times[place] = read_times(schema.time, batch.column(schema.time))[order]
        if columns.recordings is not None:
            columns.recordings[place] = keys.recordings_of(batch)[order]
        if columns.labels is not None:
            columns.labels[place] = keys.labels_of(batch)[order]
        done += batch.num_rows
        progress("placing rows", done, total)
    if columns is None or done != total:
        raise DataError(f"{source.name}: {done} rows now, {total} a moment ago: it changed while it was read")
    return columns


def _read_values(batch: Any, schema: RecordingSchema) -> Array:
    if schema.image_shape:
        return read_lists(schema.channels[0], batch.column(schema.channels[0]), schema.image_shape)
    return np.stack([read_numbers(name, batch.column(name)) for name in schema.channels], axis=1)


@dataclass
class _Missing:
    """Missing values as they are met."""

    schema: RecordingSchema
    by_column: dict[str, int] = field(default_factory=dict)
    by_task: dict[str, int] = field(default_factory=dict)

    def count(self, column: str, task: str, number: int) -> None:
        if number:
            self.by_column[column] = self.by_column.get(column, 0) + number
            self.by_task[task] = self.by_task.get(task, 0) + number

    def refuse_if_declared(self) -> None:
        if self.schema.missing == "error" and self.by_column:
            columns = ", ".join(f"{name!r} {count}" for name, count in self.by_column.items())
            task = next(iter(self.by_task))
            raise DataError(
                f"missing or infinite values by column: {columns}; in {len(self.by_task)} task(s), first "
                f"{task!r}. Set `missing` to 'drop' (leave out examples that touch them) or 'hold' (a "
                "channel keeps its last value)"
            )


def _finish_task(
    columns: _Columns, schema: RecordingSchema, keys: Keys, span: slice, name: str, missing: _Missing
) -> tuple[Integers, Integers]:
    """Sort a task's rows in place, treat what is missing, and cut.

    Returns:
        The absolute first rows of its examples by (class, time), and how many there are of each class.
    """
    part = {key: None if column is None else column[span] for key, column in vars(columns).items()}
    order = row_order(part["times"], part["recordings"])
    if order is not None:
        for column in columns.present():
            column[span] = column[span][order]
    values, targets, labels = part["values"], part["targets"], part["labels"]
    assert values is not None
    crossing = labels if schema.span > 1 else None
    begins = breaks(len(values), part["times"], part["recordings"], crossing, schema.max_gap)
    usable = np.ones(len(values), dtype=bool)
    if values.dtype == np.float32:
        absent = np.isnan(values.reshape(len(values), -1))
        for index, channel in enumerate(schema.channels):
            mine = absent if schema.image_shape else absent[:, index]
            missing.count(channel, name, int(mine.sum()))
        if schema.missing == "hold" and absent.any():
            values[:] = hold_last(values, begins)
            absent = np.isnan(values)
        usable &= ~absent.any(axis=1)
    if targets is not None:
        for index, target in enumerate(schema.targets):
            if target not in schema.channels:
                missing.count(target, name, int(np.isnan(targets[:, index]).sum()))
        usable &= ~np.isnan(targets).any(axis=1)
    if labels is not None:
        missing.count(schema.label or "", name, int((labels < 0).sum()))
        usable &= labels >= 0
    starts = example_starts(begins, usable, schema.span, schema.step)
    counts = np.array([len(starts)])
    if labels is not None:
        of = np.asarray(labels[starts])
        starts = starts[np.argsort(of, kind="stable")]
        counts = np.bincount(of, minlength=len(keys.labels))
    return starts + int(span.start), counts.astype(np.int64)


def _content_hash(scratch: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(scratch.iterdir()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
