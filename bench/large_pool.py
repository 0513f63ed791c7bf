"""A pool of a billion rows in a store: shards and cache hits, beside the same files mapped from disk.

Run `python -m bench.large_pool [--rows N] [--folder DIR] [--latency-ms MS]`. 100,000 devices of 10,000 rows
and six channels are 24 GB of sparse file: a stamp in each block makes it another one, the rest are holes. The
store is the folder, read as one by its URL; each request takes the latency on top, as that of a store would.
What is measured is this side: opening, requests, digests, cache and windows, and not a network.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from acclimate.initialization import Normalization
from acclimate.tasks import EpisodePlan, RecordingSchema, TaskPool
from acclimate.tasks.pool.info import STARTS, PoolInfo
from acclimate.tasks.pool.remote.document import INDEX, Place, index_of, measured_array, written_down
from acclimate.tasks.pool.remote.ranged import block_rows

DEVICE_ROWS, CHANNELS, WINDOW, STRIDE, LABELS = 10_000, 6, 128, 64, 5
SHARD, STEPS = 4, 100
PLAN = EpisodePlan(shots=5, query_shots=15)
SCHEMA = RecordingSchema(
    kind="classification",
    task="device",
    channels=tuple(f"c{number}" for number in range(CHANNELS)),
    label="label",
    window=WINDOW,
    stride=STRIDE,
)
PLAIN = Normalization((0.0,) * CHANNELS, (1.0,) * CHANNELS)


class Distant(LocalFileSystem):
    """A folder as a store far away: what is asked for together comes together, as much later."""

    latency_s = 0.0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("distant://"))

    def cat_ranges(self, *ranges: Any, **options: Any) -> Any:
        time.sleep(self.latency_s)
        return super().cat_ranges(*ranges, **options)


fsspec.register_implementation("distant", Distant)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000_000)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--latency-ms", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        begin = time.perf_counter()
        rows, cells = write_pool(Path(folder), arguments.rows // DEVICE_ROWS)
        print(f"written and digested in {time.perf_counter() - begin:.0f} s: {rows[-1]:,} rows")
        mapped = mapped_pool(Path(folder), rows, cells)
        timed("mapped from disk", mapped, None)
        Distant.latency_s = arguments.latency_ms / 1e3
        for gigabytes in (0.0, 1.0, 10.0):
            os.environ["ACCLIMATE_POOL_CACHE"] = str(Path(folder) / f"cache-{gigabytes:g}")
            os.environ["ACCLIMATE_POOL_CACHE_GB"] = str(gigabytes)
            for turn in ("cold", "again"):
                begin = time.perf_counter()
                pool = TaskPool.open(f"distant://{folder}/pool")
                opened = time.perf_counter() - begin
                timed(
                    f"by range, cache {gigabytes:g} GB, {turn}, opened in {opened:.2f} s", pool, pool.values
                )


def write_pool(folder: Path, devices: int) -> tuple[Any, Any]:
    """A pool of one shard at `folder/pool`; its first rows and entries."""
    rows = np.arange(devices + 1, dtype=np.int64) * DEVICE_ROWS
    within = np.arange(0, DEVICE_ROWS - WINDOW + 1, STRIDE)
    by_class = np.concatenate([within[label::LABELS] for label in range(LABELS)])
    counts = [len(within[label::LABELS]) for label in range(LABELS)]
    cells = np.concatenate([[0], np.cumsum(np.tile(counts, devices))]).astype(np.int64)
    shard = folder / "pool" / "build" / "00000"
    shard.mkdir(parents=True)
    (rows[:-1, None] + by_class).astype(np.int64).tofile(shard / STARTS)
    values = np.lib.format.open_memmap(shard / "values.npy", "w+", np.float32, (int(rows[-1]), CHANNELS))
    stamped = np.arange(0, len(values), block_rows(4 * CHANNELS))
    values[stamped, 0] = np.arange(1, len(stamped) + 1)
    values.flush()
    arrays = {
        "build/00000": {
            "values": measured_array(shard / "values.npy"),
            "starts": measured_array(shard / STARTS),
        }
    }
    index = index_of(rows, cells, arrays)
    (folder / "pool" / "build" / INDEX).write_bytes(index)
    written_down(Place(f"file://{folder}/pool"), info(devices, index), "build", arrays)
    return rows, cells


def info(devices: int, index: bytes) -> PoolInfo:
    names = tuple(f"device-{number:06d}" for number in range(devices))
    labels = tuple(f"label {number}" for number in range(LABELS))
    return PoolInfo(SCHEMA, labels, names, names, "bench", hashlib.sha256(index).hexdigest())


def mapped_pool(folder: Path, rows: Any, cells: Any) -> TaskPool:
    shard = folder / "pool" / "build" / "00000"
    return TaskPool(
        info=info(len(rows) - 1, b""),
        values=np.load(shard / "values.npy", mmap_mode="r"),
        targets=None,
        times=None,
        rows=rows,
        starts=np.memmap(shard / STARTS, np.int64, "r"),
        cells=cells,
        path=None,
    )


def timed(name: str, pool: TaskPool, values: Any) -> None:
    begin = time.perf_counter()
    sampler = pool.sampler(np.arange(len(pool.task_ids)), PLAN, PLAIN)
    cut = time.perf_counter() - begin
    before = dict(values.blocks.counts) if values is not None else {}
    seconds, processor = [], time.process_time()
    for step in range(STEPS):
        begin = time.perf_counter()
        sampler.episodes(step, range(SHARD))
        seconds.append(time.perf_counter() - begin)
    processor = (time.process_time() - processor) / STEPS
    print(
        f"{name}: cut in {cut:.1f} s; a shard of {SHARD} tasks {1e3 * statistics.median(seconds):.1f} ms "
        f"({1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f}), {1e3 * processor:.1f} ms of a core"
    )
    if values is not None:
        read = {key: count - before.get(key, 0) for key, count in values.blocks.counts.items()}
        hits = 100 * (1 - read.get("store", 0) / read["wanted"])
        print(
            f"    hits {hits:.0f} % of {read['wanted']} blocks; a shard takes "
            f"{read.get('requests', 0) / STEPS:.1f} requests, {read.get('bytes', 0) / STEPS / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
