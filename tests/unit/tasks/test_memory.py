"""Intake needs memory for chunks and not for the file: what is held of four times the rows is the same."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from acclimate.tasks import RecordingSchema, build_pool, from_files
from acclimate.tasks.columns.sample import sample
from acclimate.tasks.sources import delimited

MIB = 1 << 20
SCHEMA = RecordingSchema(
    kind="forecasting", task="device", channels=("a", "b"), targets=("a",), time="t", horizon=1
)


def written(path: Path, rows: int) -> Path:
    """Rows of fifty devices that take turns, as a gateway writes them."""
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "device": pa.array([f"d{number:02d}" for number in range(50)]).take(
                pa.array(np.arange(rows) % 50)
            ),
            "t": np.arange(rows) // 50,
            "a": random.normal(size=rows).astype(np.float32),
            "b": random.normal(size=rows).astype(np.float32),
        }
    )
    (pv.write_csv if path.suffix == ".csv" else pq.write_table)(table, str(path))
    return path


def most_arrow_memory(path: Path) -> int:
    """Bytes of Arrow's that a look at a file took at most."""
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counted)
    try:
        assert len(sample(from_files(str(path)), rows=1000).frame) > 900
        return int(counted.max_memory())
    finally:
        pa.set_memory_pool(before)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_look_at_a_file_holds_a_batch_of_it(form, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 20)
    one, four = (
        most_arrow_memory(written(tmp_path / f"{rows}.{form}", rows)) for rows in (400_000, 1_600_000)
    )
    assert four < 1.3 * one


def test_of_csv_a_block_is_read_ahead_and_not_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 18)
    place = written(tmp_path / "a.csv", 400_000)
    tracemalloc.start()  # which sees what Arrow is handed by Python's files
    assert from_files(str(place)).rows == 400_000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 * delimited.BLOCK_BYTES < place.stat().st_size / 4


def test_a_cell_that_is_longer_than_a_part_of_a_block_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 14)
    cells = ["x" * 10_000 if row == 500 else f"note {row}" for row in range(1000)]
    place = tmp_path / "a.csv"
    place.write_text("device,note\n" + "\n".join(f"d{row % 3},{cell}" for row, cell in enumerate(cells)))
    source = from_files(str(place))
    read = [one for batch in source.batches(["note"]) for one in batch.column("note").to_pylist()]
    assert read == cells


def test_parquet_is_read_a_batch_at_a_time(tmp_path):
    place = tmp_path / "a.parquet"
    pq.write_table(pq.read_table(written(place, 800_000)), place, row_group_size=20_000)
    source = from_files(str(place))
    assert source.rows == 800_000
    tracemalloc.start()  # which sees what Arrow is handed by Python's files
    for _ in source.batches(source.columns):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < place.stat().st_size / 4


def test_rows_that_are_placed_leave_memory(tmp_path):
    """What a process has mapped of the arrays that it writes counts as its own memory."""
    mapped: list[int] = []

    def watch(*_: object) -> None:
        found = re.findall(r"/values\.npy\n(?:.*\n)*?Rss: +(\d+) kB", Path("/proc/self/smaps").read_text())
        mapped.append(1024 * sum(map(int, found)))

    rows = 1_600_000
    pool = build_pool(
        from_files(str(written(tmp_path / "a.parquet", rows))), SCHEMA, tmp_path / "pool", progress=watch
    )
    assert pool.rows[-1] == rows
    assert len(mapped) > 20
    assert max(mapped) < pool.values.nbytes / 3
