"""Build a pool in an object store in shards of consecutive tasks, each small enough for a node's disk.

The keys are read once, here; shards are then built side by side, each from the parts of the source that hold
its tasks, and give together what one build would: the same rows, examples, notes and refusals. A shard that
was built already, before an interruption say, is not built again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.tasks.building.build import (
    Progress,
    as_declared,
    begun,
    cut_and_placed,
    fingerprint_of,
    silent,
)
from acclimate.tasks.building.cutting import Missing, refuse_nothing
from acclimate.tasks.building.keys import Keys, read_keys
from acclimate.tasks.building.ledger import Ledger
from acclimate.tasks.pool.info import PoolInfo
from acclimate.tasks.pool.remote.document import (
    ARRAYS,
    INDEX,
    Place,
    StoredArray,
    index_of,
    info_at,
    measured_array,
    written_down,
)
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source

SHARD_ROWS = 1 << 24
"""Rows from which a shard is closed: 400 MB of six channels."""


@dataclass(frozen=True)
class ShardJob:
    """One shard to build.

    Attributes:
        source: the parts that hold its tasks.
        keys: of its tasks.
        name: below the pool's URL.
        exact: keep channels as float64.
    """

    source: Source
    schema: RecordingSchema
    keys: Keys
    url: str
    name: str
    exact: bool = False


@dataclass(frozen=True)
class Shard:
    """What was built; what `pool.json` and the index need of it.

    Attributes:
        folder: below the pool's URL.
        rows: first row of each of its tasks, and their total.
        cells: likewise of its examples.
        noted: lines of the ledger, with their rows.
    """

    folder: str
    arrays: dict[str, StoredArray]
    rows: list[int]
    cells: list[int]
    missing: Missing
    possible: list[int]
    noted: dict[str, int]

    @staticmethod
    def from_json(text: bytes) -> Shard:
        fields = json.loads(text)
        arrays = {
            name: StoredArray(**{**one, "shape": tuple(one["shape"])})
            for name, one in fields["arrays"].items()
        }
        return Shard(**{**fields, "arrays": arrays, "missing": Missing(**fields["missing"])})


Run = Callable[[Callable[[ShardJob], Shard], Mapping[str, ShardJob]], Iterable[tuple[str, Shard]]]
"""Builds shards anywhere and gives them by name, in any order."""


def here(build: Callable[[ShardJob], Shard], jobs: Mapping[str, ShardJob]) -> Iterable[tuple[str, Shard]]:
    """In this process, one after the other."""
    return ((name, build(job)) for name, job in jobs.items())


def build_in_store(
    source: Source,
    schema: RecordingSchema,
    url: str,
    *,
    run: Run = here,
    shard_rows: int = SHARD_ROWS,
    progress: Progress = silent,
) -> None:
    """Build a pool at a URL, unless the one there was built from the same source and schema.

    Args:
        run: builds the shards.

    Raises:
        DataError: as for `build_pool`.
        StoreError: the store does not answer, or does not let us in.
    """
    place = Place(url)
    fingerprint = fingerprint_of(source, schema)
    if (info_at(place) or {}).get("fingerprint") == fingerprint:
        return
    source = as_declared(source, schema)
    schema.check_columns(source.columns)
    keys = read_keys(source, schema, progress, for_shards=True)
    build = fingerprint[:16]
    jobs = {
        f"{build}/{number:05d}": ShardJob(
            source.only(keys.parts_of(span)), schema, keys.of(span), url, f"{build}/{number:05d}"
        )
        for number, span in enumerate(_spans(keys.counts, shard_rows))
    }
    shards = _all(run, jobs, progress)
    exact = any(shard.arrays["values"].dtype == "<f8" for shard in shards.values())
    again = {
        name: replace(jobs[name], name=f"{jobs[name].name}-exact", exact=True)
        for name, shard in shards.items()
        if exact and shard.arrays["values"].dtype == "<f4"
    }
    shards |= _all(run, again, progress)
    _assemble(place, [shards[name] for name in jobs], schema, keys, source, fingerprint, build)


def build_shard(job: ShardJob) -> Shard:
    """Build one shard and put it into the store; a note of it comes last, and is what makes it built.

    Raises:
        DataError, StoreError: as for `build_in_store`.
    """
    place = Place(job.url)
    note = f"{job.name}/shard.json"
    built = place.read(note)
    if built is not None:
        return Shard.from_json(built)
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="acclimate-shard-") as scratch:
        folder = Path(scratch)
        cut = cut_and_placed(job.source, job.schema, job.keys, folder, ledger, silent, exact=job.exact)
        arrays = {}
        for name, file in ARRAYS.items():
            if (folder / file).exists():
                arrays[name] = measured_array(folder / file)
                place.put(folder / file, f"{job.name}/{file}")
    shard = Shard(
        job.name,
        arrays,
        cut.rows.tolist(),
        cut.cells.tolist(),
        cut.missing,
        cut.possible.tolist(),
        ledger.rows,
    )
    place.write(note, json.dumps(asdict(shard)).encode())
    return shard


def _all(run: Run, jobs: Mapping[str, ShardJob], progress: Progress) -> dict[str, Shard]:
    shards: dict[str, Shard] = {}
    for name, shard in run(build_shard, jobs):
        shards[name] = shard
        progress("building shards", len(shards), len(jobs))
    return shards


def _spans(counts: npt.NDArray[np.int64], most: int) -> Sequence[slice]:
    """Consecutive tasks, closed at the first that reaches `most` rows."""
    spans, begin, rows = [], 0, 0
    for task, count in enumerate(counts.tolist()):
        rows += count
        if rows >= most or task == len(counts) - 1:
            spans.append(slice(begin, task + 1))
            begin, rows = task + 1, 0
    return spans


def _assemble(
    place: Place,
    shards: Sequence[Shard],
    schema: RecordingSchema,
    keys: Keys,
    source: Source,
    fingerprint: str,
    build: str,
) -> None:
    ledger = begun(source, schema, keys)
    missing = Missing()
    for shard in shards:
        for line, count in shard.noted.items():
            ledger.note(line) if not count else ledger.count(line, count)
        for column, count in shard.missing.columns.items():
            missing.columns[column] = missing.columns.get(column, 0) + count
        missing.tasks |= shard.missing.tasks
    if schema.missing == "error":
        missing.refuse()
    rows, cells = _joined([shard.rows for shard in shards]), _joined([shard.cells for shard in shards])
    refuse_nothing(cells, schema, keys)
    arrays = {shard.folder: shard.arrays for shard in shards}
    index = index_of(rows, cells, arrays)
    place.write(f"{build}/{INDEX}", index)
    info = PoolInfo(
        schema=schema,
        labels=keys.labels,
        task_ids=keys.task_ids,
        groups=keys.groups,
        fingerprint=fingerprint,
        content_hash=hashlib.sha256(index).hexdigest(),
        missing=missing.columns,
        missing_tasks=missing.tasks,
        possible=tuple(count for shard in shards for count in shard.possible),
        intake=ledger.lines(),
        dated=keys.clock is not None and keys.clock.dated,
    )
    written_down(place, info, build, arrays)


def _joined(parts: Sequence[Sequence[int]]) -> npt.NDArray[Any]:
    """First entries of consecutive runs, each counted from 0, as those of one run."""
    joined = [np.zeros(1, dtype=np.int64)]
    for part in parts:
        joined.append(np.asarray(part[1:], dtype=np.int64) + int(joined[-1][-1]))
    return np.concatenate(joined)
