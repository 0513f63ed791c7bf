"""A pool of 10 million rows: time to build, to open and to sample, and the memory of each.

Run `python -m bench.task_pool [--rows N] [--folder DIR]`. Every stage is a process of its own, so that
its memory is its own. Beside each stage stands what a person would do without a pool: read the Parquet with
pandas, group it by device, and cut windows out of the groups. Rounds of both are interleaved.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from acclimate.tasks import EpisodePlan, RecordingSchema, TaskPool, build_pool, from_files

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
LABELS = 5
DEVICE_ROWS = 10_000
SESSION_ROWS = 500
WINDOW = 100
SHOTS, QUERY_SHOTS, META_BATCH, STEPS = 5, 15, 16, 200
SCHEMA = RecordingSchema(
    kind="classification",
    task="device",
    group="site",
    time="t",
    channels=CHANNELS,
    label="activity",
    window=WINDOW,
    stride=50,
)
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        source, pool = Path(folder) / "source", Path(folder) / "pool"
        begin = time.perf_counter()
        write_source(source, arguments.rows // DEVICE_ROWS)
        seconds = time.perf_counter() - begin
        print(f"source: {arguments.rows:,} rows of {len(CHANNELS)} channels, devices taking turns")
        print(f"  {size(source) / MIB:,.0f} MiB of Parquet in 10 files, written in {seconds:.1f} s")
        show("build, once", apart(build, source, pool))
        print(f"  pool on disk {size(pool) / MIB:,.0f} MiB")
        show("build again, nothing changed", apart(build, source, pool))
        rounds = [(apart(use_pool, pool), apart(use_pandas, source)) for _ in range(arguments.rounds)]
        for name, of in (("open the pool, sample", 0), ("pandas, sample", 1)):
            show(name, median([one[of] for one in rounds]))
        for key in ("ready_s", "sample_ms_per_task", "peak_private_mib"):
            ratios = sorted(pandas[key] / ours[key] for ours, pandas in rounds)
            print(
                f"  pandas / pool, {key}: {ratios[len(ratios) // 2]:,.1f} "
                f"({ratios[0]:,.1f} to {ratios[-1]:,.1f})"
            )
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, shared with other work")


def write_source(folder: Path, devices: int) -> None:
    """Devices report in turn, as they would arrive; each does one activity for `SESSION_ROWS` of its rows."""
    folder.mkdir()
    random = np.random.default_rng(0)
    part = devices * DEVICE_ROWS // 10
    for number in range(10):
        index = np.arange(number * part, (number + 1) * part)
        device, t = index % devices, index // devices
        columns: dict[str, Any] = {
            "device": pa.array([f"device-{one:04d}" for one in range(devices)]).take(pa.array(device)),
            "site": pa.array([f"site-{one:02d}" for one in range(50)]).take(pa.array(device % 50)),
            "t": t / 50.0,
            "activity": pa.array([f"activity-{one}" for one in range(LABELS)]).take(
                pa.array(t // SESSION_ROWS % LABELS)
            ),
        }
        columns |= {name: random.standard_normal(part, dtype=np.float32) for name in CHANNELS}
        pq.write_table(pa.table(columns), folder / f"part-{number}.parquet")


def build(source: Path, pool: Path) -> dict[str, float]:
    begin = time.perf_counter()
    opened = build_pool(from_files(str(source)), SCHEMA, pool)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "rows_per_s": float(opened.rows[-1]) / seconds}


def use_pool(path: Path) -> dict[str, float]:
    begin = time.perf_counter()
    pool = TaskPool.open(path)
    opened = time.perf_counter()
    sampler = pool.sampler(np.arange(len(pool.task_ids)), EpisodePlan(SHOTS, QUERY_SHOTS))
    sampler.episodes(0, range(META_BATCH))
    ready = time.perf_counter()
    for step in range(STEPS):
        sampler.episodes(step, range(META_BATCH))
    return {
        "open_ms": (opened - begin) * 1e3,
        "ready_s": ready - begin,
        "sample_ms_per_task": (time.perf_counter() - ready) / STEPS / META_BATCH * 1e3,
    }


def use_pandas(source: Path) -> dict[str, float]:
    """The same windows by hand: everything in memory, a loop over tasks and classes."""
    begin = time.perf_counter()
    frame = pd.read_parquet(source)
    groups = {
        key: group.sort_values("t")[list(CHANNELS)].to_numpy(np.float32)
        for key, group in frame.groupby(["device", "activity"], observed=True)
    }
    devices = sorted({device for device, _ in groups})
    labels = sorted({label for _, label in groups})
    random = np.random.default_rng(0)

    def draw() -> list[Any]:
        return [
            _draw_by_hand(groups, device, labels, random) for device in random.choice(devices, META_BATCH)
        ]

    draw()
    ready = time.perf_counter()
    for _ in range(STEPS // 10):
        draw()
    return {
        "ready_s": ready - begin,
        "sample_ms_per_task": (time.perf_counter() - ready) / (STEPS // 10) / META_BATCH * 1e3,
    }


def _draw_by_hand(groups: Any, device: str, labels: list[str], random: np.random.Generator) -> Any:
    support: list[Any] = []
    query: list[Any] = []
    for label in labels:
        rows = groups[device, label]
        half = len(rows) // 2
        for part, count, into in ((rows[:half], SHOTS, support), (rows[half:], QUERY_SHOTS, query)):
            starts = random.choice(np.arange(0, len(part) - WINDOW + 1, 50), count, replace=False)
            into.append(np.stack([part[start : start + WINDOW].T for start in starts]))
    return np.concatenate(support), np.concatenate(query)


def apart(stage: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Run a stage in a fresh process and add the memory it took."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_measured, (stage, arguments))


def _measured(stage: Callable[..., dict[str, float]], arguments: tuple[Any, ...]) -> dict[str, float]:
    before, peak, done = private_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, private_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    figures = stage(*arguments)
    done.set()
    watcher.join()
    peak = max(peak, private_bytes())
    return figures | {"imports_mib": before / MIB, "peak_private_mib": (peak - before) / MIB}


def private_bytes() -> int:
    """Memory that only this process holds; mapped files are the system's cache and can be dropped."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def show(name: str, figures: dict[str, float]) -> None:
    print(f"{name}: " + ", ".join(f"{key} {value:,.3f}" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
