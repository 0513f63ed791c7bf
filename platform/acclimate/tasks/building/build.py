"""Build a task pool from a source in two passes, with memory for one batch and one task.

Pass 1 reads the key columns and counts each task's rows, which fixes where they go (`keys`). Pass 2 streams
every batch and places its rows there (`placement`). Then each task is sorted and its examples are cut
(`cutting`). The pool is written beside its place and renamed into it, so an interrupted build leaves nothing
that opens.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from acclimate.errors import DataError
from acclimate.files import release, reserve, scratch_folder
from acclimate.tasks.building.cutting import Cut, cut_tasks, refuse_nothing
from acclimate.tasks.building.evening import even_tasks
from acclimate.tasks.building.keys import Keys, read_keys
from acclimate.tasks.building.ledger import Ledger
from acclimate.tasks.building.ordering import order_tasks
from acclimate.tasks.building.placement import place_rows
from acclimate.tasks.columns.composed import composed
from acclimate.tasks.columns.readings import spread
from acclimate.tasks.columns.wide import melted
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.pool.info import FORMAT, INFO, STARTS, PoolInfo
from acclimate.tasks.pool.stored import CHUNK_ROWS
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0 if unknown)."""


def silent(what: str, done: int, total: int) -> None:
    """The progress of someone who does not look."""


def build_pool(
    source: Source, schema: RecordingSchema, directory: Path | str, *, progress: Progress = silent
) -> TaskPool:
    """Build a pool in `directory`, or open the one there if it was built from the same source and schema.

    Raises:
        DataError: a column is missing or unusable, there are missing values and `missing` is `error`, a
            declared label never occurs or an undeclared one does, or no task has an example.
    """
    directory = Path(directory)
    fingerprint = fingerprint_of(source, schema)
    if _fingerprint_in(directory) != fingerprint:
        source = as_declared(source, schema)
        schema.check_columns(source.columns)
        _refuse_other_files(directory)
        with scratch_folder(directory) as scratch:
            _write(source, schema, scratch, fingerprint, progress)
    return TaskPool.open(directory)


def as_declared(source: Source, schema: RecordingSchema) -> Source:
    """`source` with the columns that the schema speaks of, where they are made of others.

    Raises:
        DataError: what the schema says of its columns does not hold.
    """
    roles = {role: getattr(schema, role) for role in ("time", "task", "group", "recording")}
    return spread(composed(melted(source, schema), roles), schema)


def build_in_memory(source: Source, schema: RecordingSchema) -> TaskPool:
    """The same pool without a place on disk, for data that fits in memory."""
    with tempfile.TemporaryDirectory(prefix="acclimate-pool-") as scratch:
        build_pool(source, schema, Path(scratch) / "pool")
        return TaskPool.open(Path(scratch) / "pool", mmap=False)


def fingerprint_of(source: Source, schema: RecordingSchema) -> str:
    """Of everything that decides a pool's content: source, schema and the pool format."""
    text = json.dumps([FORMAT, source.fingerprint, schema.as_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(
    source: Source, schema: RecordingSchema, scratch: Path, fingerprint: str, progress: Progress
) -> None:
    keys = read_keys(source, schema, progress)
    ledger = begun(source, schema, keys)
    cut = cut_and_placed(source, schema, keys, scratch, ledger, progress)
    if schema.missing == "error":
        cut.missing.refuse()
    refuse_nothing(cut.cells, schema, keys)
    np.save(scratch / "rows.npy", cut.rows)
    np.save(scratch / "cells.npy", cut.cells)
    info = PoolInfo(
        schema=schema,
        labels=keys.labels,
        task_ids=keys.task_ids,
        groups=keys.groups,
        fingerprint=fingerprint,
        content_hash=_content_hash(scratch),
        missing=cut.missing.columns,
        missing_tasks=cut.missing.tasks,
        possible=tuple(cut.possible.tolist()),
        intake=ledger.lines(),
        dated=keys.clock is not None and keys.clock.dated,
    )
    (scratch / INFO).write_text(json.dumps(info.as_dict()) + "\n")


def begun(source: Source, schema: RecordingSchema, keys: Keys) -> Ledger:
    """The ledger of a build, with what is known before a row is placed."""
    ledger = Ledger()
    for note in source.notes:
        ledger.note(note)
    if schema.absent:
        ledger.note(
            "stand for a missing value: " + ", ".join(map(str, schema.absent_numbers + schema.absent_words))
        )
    ledger.note(keys.clock.note if keys.clock else "")
    return ledger


def cut_and_placed(
    source: Source,
    schema: RecordingSchema,
    keys: Keys,
    scratch: Path,
    ledger: Ledger,
    progress: Progress,
    exact: bool = False,
) -> Cut:
    """Write the arrays of the tasks that `keys` knows into `scratch`.

    Args:
        exact: keep channels as float64; else only where float32 loses their steps.

    Raises:
        DataError: as for `build_pool`, but for values that are missing and examples that nobody has.
    """
    rows = np.concatenate([[0], np.cumsum(keys.counts)]).astype(np.int64)
    columns = place_rows(source, schema, keys, rows, scratch, progress, ledger, exact)
    placed = int(rows[-1])
    rows = order_tasks(columns, schema, keys, rows, ledger, progress)
    if schema.resample_s:
        columns, rows = even_tasks(columns, schema, rows, scratch, ledger, progress)
        placed = int(rows[-1])
    cut = cut_tasks(columns, schema, keys, rows, scratch / STARTS, progress)
    for column in columns.present:
        column.flush()
    del columns
    for name in ("recordings.npy", "labels.npy"):
        (scratch / name).unlink(missing_ok=True)
    if rows[-1] < placed:
        for name in ("values.npy", "targets.npy", "times.npy"):
            _shorten(scratch / name, int(rows[-1]))
    return cut


def _shorten(path: Path, rows: int) -> None:
    """Write the first `rows` of an array in its place, a piece at a time."""
    if not path.exists():
        return
    long = np.load(path, mmap_mode="r")
    short = np.lib.format.open_memmap(path.with_suffix(".short"), "w+", long.dtype, (rows, *long.shape[1:]))
    reserve(path.with_suffix(".short"))
    for begin in range(0, rows, CHUNK_ROWS):
        short[begin : begin + CHUNK_ROWS] = long[begin : min(rows, begin + CHUNK_ROWS)]
        release(short)
        release(long)
    short.flush()
    del short, long
    path.with_suffix(".short").replace(path)


def _content_hash(scratch: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(scratch.iterdir()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _fingerprint_in(directory: Path) -> str | None:
    try:
        return str(json.loads((directory / INFO).read_text("utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError):
        return None


def _refuse_other_files(directory: Path) -> None:
    if directory.exists() and not (directory / INFO).exists() and any(directory.iterdir()):
        raise DataError(f"{directory} holds other files than a task pool: choose another place")
