import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acclimate.errors import DataError
from acclimate.initialization import Normalization
from acclimate.tasks import (
    RecordingSchema,
    TaskPool,
    build_in_memory,
    build_pool,
    from_arrays,
    from_files,
    from_frame,
)
from acclimate.tasks.pool.windows import read_inputs

ROWS = RecordingSchema(
    kind="classification", task="device", group="site", time="t", channels=("a", "b"), label="state"
)


def frame(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """Rows of five devices on two sites, in random order."""
    random = np.random.default_rng(seed)
    device = random.integers(0, 5, rows)
    return pd.DataFrame(
        {
            "device": [f"d{number}" for number in device],
            "site": [f"s{number % 2}" for number in device],
            "t": random.permutation(rows),
            "a": random.normal(size=rows).astype(np.float32),
            "b": random.normal(size=rows).astype(np.float32),
            "state": random.choice(["on", "off", "idle"], rows),
        }
    )


def same_arrays(one: TaskPool, other: TaskPool) -> None:
    for name in ("values", "rows", "starts", "cells"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.task_ids == other.task_ids
    assert one.groups == other.groups


@pytest.mark.parametrize("number", ["int64", "float64", "string", "category"])
def test_devices_numbered_anew_on_each_site_are_told_apart_by_both_columns(number):
    data = frame()
    data["number"] = (data.device.str[1:].astype(int) // 2).astype(number)
    pool = build_in_memory(from_frame(data), replace(ROWS, task="site + number"))
    one = build_in_memory(from_frame(data), ROWS)
    assert set(pool.task_ids) == {"s0/0", "s0/1", "s0/2", "s1/0", "s1/1"}
    assert pool.task_ids == tuple(
        f"{one.groups[task]}/{int(one.task_ids[task][1:]) // 2}" for task in (0, 2, 4, 1, 3)
    )
    np.testing.assert_array_equal(pool.values[: pool.rows[1]], one.values[: one.rows[1]])
    assert "columns 'site' and 'number' read as one name" in " ".join(pool.info.intake)


def test_a_name_of_two_columns_names_the_one_that_is_missing():
    with pytest.raises(DataError, match=r"task is 'site \+ no', and 'no' is no column"):
        build_in_memory(from_frame(frame()), replace(ROWS, task="site + no"))


def test_rows_are_grouped_by_task_and_sorted_by_time(tmp_path):
    data = frame()
    pool = build_pool(from_frame(data), ROWS, tmp_path / "pool")
    assert pool.task_ids == ("d0", "d1", "d2", "d3", "d4")
    assert pool.groups == ("s0", "s1", "s0", "s1", "s0")
    assert pool.info.labels == ("idle", "off", "on")
    for task, name in enumerate(pool.task_ids):
        expected = data[data.device == name].sort_values("t")
        span = slice(pool.rows[task], pool.rows[task + 1])
        np.testing.assert_array_equal(pool.values[span], expected[["a", "b"]])
        np.testing.assert_array_equal(pool.times[span], expected["t"])
        for label, state in enumerate(pool.info.labels):
            cell = task * 3 + label
            starts = pool.starts[pool.cells[cell] : pool.cells[cell + 1]]
            np.testing.assert_array_equal(pool.values[starts], expected[expected.state == state][["a", "b"]])


def test_every_kind_of_source_gives_the_same_pool(tmp_path):
    data = frame()
    expected = build_in_memory(from_frame(data), ROWS)
    one_file = tmp_path / "one.parquet"
    data.to_parquet(one_file, row_group_size=50)
    pq.write_to_dataset(pa.Table.from_pandas(data), tmp_path / "hive", partition_cols=["site", "device"])
    same_arrays(expected, build_in_memory(from_frame(pa.Table.from_pandas(data)), ROWS))
    same_arrays(expected, build_in_memory(from_arrays({name: data[name] for name in data}), ROWS))
    same_arrays(expected, build_in_memory(from_files(str(one_file)), ROWS))
    same_arrays(expected, build_in_memory(from_files(str(tmp_path / "hive")), ROWS))
    same_arrays(expected, build_in_memory(from_files(f"file://{tmp_path}/hive"), ROWS))


def test_any_fsspec_url_is_read():
    import fsspec

    data = frame()
    with fsspec.open("memory://recordings/part-0.parquet", "wb") as file:
        data.to_parquet(file)
    pool = build_in_memory(from_files("memory://recordings"), ROWS)
    same_arrays(pool, build_in_memory(from_frame(data), ROWS))


def test_a_pool_is_built_again_only_when_something_changed(tmp_path):
    source = tmp_path / "source.parquet"
    frame().to_parquet(source)
    built = []

    def build(schema: RecordingSchema = ROWS) -> TaskPool:
        return build_pool(
            from_files(str(source)), schema, tmp_path / "pool", progress=lambda *what: built.append(what)
        )

    first = build()
    assert built
    built.clear()
    assert build().info == first.info
    assert not built
    frame(seed=1).to_parquet(source)
    assert build().info.content_hash != first.info.content_hash
    assert built
    built.clear()
    build(RecordingSchema.from_dict({**ROWS.as_dict(), "stride": 2}))
    assert built


def test_equal_content_has_an_equal_hash_wherever_it_is_built(tmp_path):
    one = build_pool(from_frame(frame()), ROWS, tmp_path / "one")
    two = build_pool(from_frame(frame()), ROWS, tmp_path / "deeper" / "two")
    assert one.info.content_hash == two.info.content_hash


def test_a_failed_build_keeps_the_old_pool_and_leaves_nothing_else(tmp_path):
    build_pool(from_frame(frame()), ROWS, tmp_path / "pool")
    broken = frame()
    broken.loc[3, "a"] = np.nan
    with pytest.raises(DataError, match="missing"):
        build_pool(from_frame(broken), ROWS, tmp_path / "pool")
    assert os.listdir(tmp_path) == ["pool"]
    assert TaskPool.open(tmp_path / "pool").values.shape == (600, 2)


def test_a_killed_build_leaves_nothing_that_opens(tmp_path):
    script = f"""
import os, sys, numpy as np
from acclimate.tasks import RecordingSchema, build_pool, from_arrays
n = 400_000
source = from_arrays({{"d": np.arange(n) % 7, "a": np.zeros(n, np.float32), "s": np.arange(n) % 2}})
schema = RecordingSchema(kind="classification", task="d", channels=("a",), label="s")
def tell(what, done, total):
    if what == "placing rows":
        print("placing", flush=True)
        sys.stdin.read()
build_pool(source, schema, {str(tmp_path / "pool")!r}, progress=tell)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "platform"},
    )
    assert process.stdout.readline() == b"placing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert not (tmp_path / "pool").exists()
    assert not list(tmp_path.rglob("pool.json"))
    with pytest.raises(DataError, match="not a task pool"):
        TaskPool.open(tmp_path / "pool")


def test_placing_rows_ends_when_all_are_placed(tmp_path):
    told = []
    build_pool(from_frame(frame(30_000)), ROWS, tmp_path / "pool", progress=lambda *what: told.append(what))
    assert [one for one in told if one[0] == "placing rows"][-1][1:] == (30_000, 30_000)


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(DataError, match="other files"):
        build_pool(from_frame(frame()), ROWS, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "irreplaceable"


def test_opening_takes_no_time_and_pickles_as_a_path(tmp_path):
    import pickle

    pool = build_pool(from_frame(frame(20_000)), ROWS, tmp_path / "pool")
    assert isinstance(pool.values, np.memmap)
    content = pickle.dumps(pool)
    assert len(content) < 1000
    same_arrays(pool, pickle.loads(content))
    memory = build_in_memory(from_frame(frame()), ROWS)
    same_arrays(memory, pickle.loads(pickle.dumps(memory)))
    begin = time.perf_counter()
    TaskPool.open(tmp_path / "pool")
    print(f"opened in {(time.perf_counter() - begin) * 1e3:.2f} ms")


def test_gaps_recordings_and_labels_break_windows():
    times = [0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17]
    labels = ["x"] * 10 + ["y"] * 2
    source = from_arrays({"d": ["d"] * 12, "t": times, "a": np.arange(12.0), "s": labels})
    schema = RecordingSchema(
        kind="classification",
        task="d",
        time="t",
        channels=("a",),
        label="s",
        window=2,
        stride=1,
        max_gap=1.0,
    )
    pool = build_in_memory(source, schema)
    assert pool.starts.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 10]
    assert pool.cells.tolist() == [0, 8, 9]


def test_recordings_that_begin_together_keep_their_order_and_do_not_mix():
    source = from_arrays(
        {
            "d": ["d"] * 6,
            "session": ["late", "late", "early", "late", "early", "early"],
            "t": [0.0, 1.0, 0.0, 2.0, 1.0, 2.0],
            "a": [0.0, 1.0, 10.0, 2.0, 11.0, 12.0],
            "y": [0.0] * 6,
        }
    )
    schema = RecordingSchema(
        kind="regression", task="d", recording="session", time="t", channels=("a",), targets=("y",), window=2
    )
    pool = build_in_memory(source, schema)
    assert pool.values[:, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert pool.starts.tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize(("policy", "starts"), [("drop", [0, 3]), ("hold", [0, 1, 2, 3])])
def test_missing_values_are_dropped_or_held(policy, starts):
    source = from_arrays({"d": ["d"] * 5, "a": [1.0, 2.0, np.nan, 4.0, 5.0], "y": np.arange(5.0)})
    schema = RecordingSchema(
        kind="regression", task="d", channels=("a",), targets=("y",), window=2, missing=policy
    )
    pool = build_in_memory(source, schema)
    assert pool.starts.tolist() == starts
    assert pool.info.missing == {"a": 1}
    if policy == "hold":
        nothing = Normalization((0.0,), (1.0,))
        assert read_inputs(pool, pool.starts, nothing)[:, 0].tolist() == [[1, 2], [2, 2], [4, 4], [4, 5]]


def test_a_value_is_not_held_across_recordings():
    source = from_arrays({"d": ["d"] * 4, "r": [0, 0, 1, 1], "a": [1.0, 2.0, np.nan, 4.0], "y": np.zeros(4)})
    schema = RecordingSchema(
        kind="regression", task="d", recording="r", channels=("a",), targets=("y",), missing="hold"
    )
    assert build_in_memory(source, schema).starts.tolist() == [0, 1, 3]


def edited(**columns: object) -> pd.DataFrame:
    data = frame(40)
    for name, value in columns.items():
        data[name] = value
    return data


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (frame(), {"channels": ["a", "bb"]}, "column 'bb' is not in the data; did you mean 'b'"),
        (frame(), {"labels": ["on", "off", "idle", "of"]}, "label 'of' is declared but never occurs"),
        (frame(), {"labels": ["on", "off"]}, "label 'idle' occurs .* but is not declared"),
        (frame(), {"window": 700}, "no task has an example: one needs 700"),
        (edited(a=np.inf), {}, "40 in 'a'"),
        (edited(a="warm"), {}, "column 'a' holds .*string, not numbers"),
        (edited(device=[None, *["d"] * 39], site="s"), {}, "1 row.s. without a value"),
        (edited(device="d0"), {}, "'d0' belongs to two groups"),
        (edited(t=[None, *range(39)]), {}, "time column 't' has 1 row"),
        (frame(0), {}, "has no row"),
    ],
)
def test_bad_recordings_are_refused_with_a_name_and_a_remedy(tmp_path, data, changes, message):
    schema = RecordingSchema.from_dict({**ROWS.as_dict(), **changes})
    with pytest.raises(DataError, match=message):
        build_pool(from_frame(data), schema, tmp_path / "pool")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"windw": 3}, "did you mean 'window'"),
        ({"window": "wide"}, "window is 'wide': give rows"),
        ({"window": 0}, "window is 0"),
        ({"kind": "forecasting", "label": None, "targets": ["a"]}, "horizon is 0"),
        ({"kind": "regression"}, "targets is empty"),
        ({"missing": "ignore"}, "missing"),
        ({"max_gap": 3.0, "time": None}, "max_gap needs"),
        ({"units": ["m"]}, "units has 1 entries for 2 channels"),
    ],
)
def test_a_bad_declaration_is_refused(declared, message):
    with pytest.raises(DataError, match=message):
        RecordingSchema.from_dict({**ROWS.as_dict(), **declared})


@pytest.mark.parametrize("location", ["nowhere.parquet", "nosuch://bucket/x"])
def test_a_place_without_parquet_is_named(location):
    with pytest.raises(DataError, match=location):
        from_files(location)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    path = tmp_path / "noise.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"noise\.parquet"):
        build_pool(from_files(str(path)), ROWS, tmp_path / "pool")
