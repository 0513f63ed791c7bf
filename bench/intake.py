"""Ten million rows of CSV and of Parquet: `init`'s look, the pool and the data report, with peak memory.

Run `python -m bench.intake [--rows N] [--folder DIR]`. Every stage is a process of its own, so that its
memory is its own; memory that follows the file and not the chunk would show beside a tenth of the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from acclimate.tasks import RecordingSchema, build_pool, from_files, report_on
from acclimate.tasks.guessing.guess import guess

DEVICE_ROWS = 10_000
CHANNELS = ("ax", "ay", "az", "temperature")
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--stage", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(stage(*arguments.stage)))
        return
    print(f"{'rows':>12} {'form':8} {'stage':7} {'wall s':>7} {'cpu s':>7} {'peak MiB':>9}")
    for rows in (arguments.rows // 10, arguments.rows):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for form in ("parquet", "csv"):
                source = Path(folder) / f"fleet.{form}"
                write(source, rows // DEVICE_ROWS)
                for name in ("init", "pool", "report"):
                    command = [sys.executable, "-m", "bench.intake", "--stage", name, str(source), folder]
                    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                    print(
                        f"{rows:>12,} {form:8} {name:7} {found['wall']:>7.1f} {found['cpu']:>7.1f} "
                        f"{found['peak'] / MIB:>9.0f}",
                        flush=True,
                    )
                source.unlink()


def write(path: Path, devices: int) -> None:
    """A device after the other, so that writing takes no memory either."""
    random = np.random.default_rng(0)
    writer = None
    for device in range(devices):
        row = np.arange(DEVICE_ROWS)
        columns = {
            "device": pa.array([f"d{device:05d}"]).take(pa.array(np.zeros(DEVICE_ROWS, np.int32))),
            "time": pa.array(1_767_225_600_000_000 + row * 20_000, pa.timestamp("us", "UTC")),
            **{name: np.round(random.normal(size=DEVICE_ROWS), 4) for name in CHANNELS},
            "state": pa.array(["idle", "run", "surge"]).take(pa.array(row // 500 % 3)),
        }
        table = pa.table(columns)
        if writer is None:
            make = pq.ParquetWriter if path.suffix == ".parquet" else pv.CSVWriter
            writer = make(str(path), table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def stage(name: str, source: str, folder: str) -> dict[str, float]:
    """Run one stage in this process."""
    begin = time.perf_counter()
    schema = RecordingSchema(
        kind="classification",
        task="device",
        time="time",
        channels=CHANNELS,
        label="state",
        window=64,
        sample_rate_hz=50.0,
    )
    pool = Path(folder) / f"pool-{Path(source).suffix[1:]}"
    if name == "init":
        guess(from_files(source), {})
    elif name == "pool":
        build_pool(from_files(source), schema, pool)
    else:
        report_on(build_pool(from_files(source), schema, pool))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    used = os.times()
    return {"wall": time.perf_counter() - begin, "cpu": used.user + used.system, "peak": peak}


if __name__ == "__main__":
    main()
