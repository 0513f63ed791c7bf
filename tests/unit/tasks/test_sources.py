"""Every way in which files say the same, and ways in which they cannot: situations of public bug reports."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, TaskPool, build_in_memory, from_files, from_frame

PUMPS = RecordingSchema(
    kind="classification",
    task="device",
    time="time",
    label="state",
    channels=("pressure", "flow"),
    window=8,
    max_gap=0.25,
    missing="drop",
)


def pumps(devices: int = 4, rows: int = 120) -> pd.DataFrame:
    """Pumps at 20 Hz in three states, device after device."""
    random = np.random.default_rng(0)
    row = np.tile(np.arange(rows), devices)
    return pd.DataFrame(
        {
            "device": np.repeat([f"pump-{one:02d}" for one in range(devices)], rows),
            "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(row * 50, unit="ms"),
            "pressure": random.normal(size=devices * rows).astype(np.float32).astype(float),
            "flow": random.normal(size=devices * rows).astype(np.float32).astype(float),
            "state": np.array(["idle", "run", "surge"])[row // 20 % 3],
        }
    )


def same(pool: TaskPool, other: TaskPool) -> None:
    for name in ("values", "rows", "starts", "cells", "times"):
        np.testing.assert_array_equal(getattr(pool, name), getattr(other, name))
    assert pool.info.labels == other.info.labels


@pytest.fixture(scope="module")
def expected() -> TaskPool:
    return build_in_memory(from_frame(pumps()), PUMPS)


def test_unused_categories_are_no_devices_and_no_classes(tmp_path):
    data = pumps().astype({"device": "category", "state": "category"})
    data = data[(data.device != "pump-03") & (data.state != "surge")]
    data.to_parquet(tmp_path / "data.parquet")
    pool = build_in_memory(from_files(str(tmp_path / "data.parquet")), PUMPS)
    assert pool.task_ids == ("pump-00", "pump-01", "pump-02")
    assert pool.info.labels == ("idle", "run")


def test_partitions_are_text_and_hidden_files_are_left_alone(tmp_path):
    for number, (_, rows) in enumerate(pumps(3).groupby("device")):
        folder = tmp_path / f"device={('001', '1', 'a%20b')[number]}"
        folder.mkdir()
        rows.drop(columns="device").to_parquet(folder / "part-0.parquet")
    for hidden in (
        ".part-1.parquet",
        "_temporary.parquet",
        "part-2.parquet.tmp",
        "part-3.parquet.crc",
    ):
        (tmp_path / "device=1" / hidden).write_text("half written")
    (tmp_path / "_logs").mkdir()
    (tmp_path / "_logs" / "0.parquet").write_text("x")
    pool = build_in_memory(from_files(str(tmp_path)), PUMPS)
    assert pool.task_ids == ("001", "1", "a b")
    assert [pool.examples_of(task) for task in range(3)] == [24, 24, 24]
    assert any("5 hidden, unfinished or other file(s) not read" in line for line in pool.info.intake)


def test_an_empty_first_file_decides_nothing(tmp_path, expected):
    pd.DataFrame({name: [] for name in pumps().columns}).astype(object).to_parquet(tmp_path / "1.parquet")
    pumps().to_parquet(tmp_path / "2.parquet")
    same(build_in_memory(from_files(str(tmp_path)), PUMPS), expected)


def test_labels_that_are_nan_are_missing():
    data = pumps()
    codes = data.state.map({"idle": 0, "run": 1, "surge": 2}).to_numpy(float)
    codes[::7] = np.nan
    columns = {name: pa.array(data[name]) for name in ("device", "time", "pressure", "flow")}
    pool = build_in_memory(from_frame(pa.table({**columns, "state": pa.array(codes)})), PUMPS)
    assert pool.info.labels == ("0", "1", "2")
    assert pool.info.missing == {"state": 69}
    assert int(pool.cells[-1]) > 70  # windows span unlabelled rows; they end in a labelled one
    data["state"] = [None if number % 7 == 0 else state for number, state in enumerate(data.state)]
    assert build_in_memory(from_frame(data), PUMPS).starts.tolist() == pool.starts.tolist()


@pytest.mark.parametrize(
    "written",
    [
        lambda time: time.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        lambda time: time.dt.strftime("%Y-%m-%d %H:%M:%S.%f+00:00"),
        lambda time: time.dt.tz_localize(None),
        lambda time: time.dt.tz_convert("Asia/Tokyo"),
        lambda time: time.astype("int64") // {"ns": 1000, "us": 1, "ms": 1}[time.dt.unit],
        lambda time: time.map(pd.Timestamp.timestamp),
        lambda time: time.map(pd.Timestamp.timestamp) * 1e3,
    ],
    ids=["iso", "offset", "naive", "tokyo", "integers", "seconds", "milliseconds"],
)
def test_every_way_to_write_a_time_gives_the_same_seconds(written, expected):
    data = pumps()
    data["time"] = written(data.time)
    pool = build_in_memory(from_frame(data.sample(frac=1, random_state=1)), PUMPS)
    np.testing.assert_allclose(pool.times, expected.times, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(pool.values, expected.values)
    assert any("put in order" in line for line in pool.info.intake)


def test_day_and_month_are_told_apart_or_refused():
    data = pumps(1).iloc[:48]
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(48), unit="D")
    schema = RecordingSchema.from_dict({**PUMPS.as_dict(), "max_gap": None})
    pool = build_in_memory(from_frame(data.assign(time=days.strftime("%d/%m/%Y %H:%M"))), schema)
    assert np.unique(np.diff(np.asarray(pool.times))).tolist() == [86_400]
    with pytest.raises(DataError, match="day and month cannot be told apart"):
        build_in_memory(from_frame(data.iloc[:12].assign(time=days[:12].strftime("%d/%m/%Y"))), schema)
    times = [*days[:4].strftime("%Y-%m-%d"), "noon", *days[5:].strftime("%Y-%m-%d")]
    with pytest.raises(DataError, match=r"row 5: time column 'time' holds 'noon'"):
        build_in_memory(from_frame(data.assign(time=times)), schema)


def test_counters_keep_their_steps_and_targets_that_cannot_are_refused():
    watt_hours = 1.9e9 + np.cumsum(np.where(np.arange(480) // 60 % 2, 2000.0, 200.0) / 3600)
    data = pumps().assign(pressure=watt_hours)
    pool = build_in_memory(from_frame(data), PUMPS)
    np.testing.assert_array_equal(pool.values[:, 0], watt_hours)
    assert any("'pressure' has steps that float32 loses" in line for line in pool.info.intake)
    schema = RecordingSchema(kind="regression", task="device", channels=("flow",), targets=("pressure",))
    with pytest.raises(DataError, match="target 'pressure' has steps that float32 loses"):
        build_in_memory(from_frame(data), schema)


def berlin(step: str, rows: int) -> tuple[pd.DataFrame, pd.DatetimeIndex]:
    utc = pd.date_range("2026-10-24 20:00", periods=rows, freq=step, tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None)
    ramp = np.arange(rows, dtype=float)
    return pd.DataFrame({"device": "d", "time": local, "ramp": ramp, "y": ramp}), utc


RAMP = RecordingSchema(
    kind="regression", task="device", time="time", channels=("ramp",), targets=("y",), window=4
)


@pytest.mark.parametrize(("step", "rows"), [("min", 720), ("15min", 60), ("30min", 40), ("h", 24)])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_the_hour_that_comes_twice_is_told_apart_by_order(step, rows, zone):
    data, utc = berlin(step, rows)
    pool = build_in_memory(from_frame(data), RecordingSchema.from_dict({**RAMP.as_dict(), "time_zone": zone}))
    assert np.diff(pool.values[:, 0]).tolist() == [1] * (rows - 1)
    assert len(np.unique(np.diff(np.asarray(pool.times)))) == 1
    if zone:
        np.testing.assert_array_equal(pool.times, utc.map(pd.Timestamp.timestamp))


def test_the_hour_that_comes_twice_is_refused_where_no_order_tells():
    data, _ = berlin("min", 720)
    shuffled = data.sample(frac=1, random_state=0)
    with pytest.raises(DataError, match="comes twice"):
        build_in_memory(from_frame(shuffled), RAMP)
    with pytest.raises(DataError, match="comes twice on the clocks of Europe/Berlin"):
        build_in_memory(
            from_frame(shuffled), RecordingSchema.from_dict({**RAMP.as_dict(), "time_zone": "Europe/Berlin"})
        )


def test_repeated_rows_are_kept_and_said_or_left_out_or_refused(expected):
    data = pumps()
    twice = pd.concat([data, data[data.device == "pump-01"].iloc[:50]])

    def built(repeated: str) -> TaskPool:
        return build_in_memory(
            from_frame(twice), RecordingSchema.from_dict({**PUMPS.as_dict(), "repeated": repeated})
        )

    same(built("drop"), expected)
    assert any(
        "equal to another in all that is declared, left out: 50 row" in one
        for one in built("drop").info.intake
    )
    assert any("kept: 50 row" in one for one in built("keep").info.intake)
    with pytest.raises(DataError, match=r"'pump-01': 50 row\(s\) have the recording and time of another"):
        built("error")


def two_files(tmp_path, first: pd.DataFrame, second: pd.DataFrame) -> TaskPool:
    first.to_parquet(tmp_path / "a.parquet")
    second.to_parquet(tmp_path / "b.parquet")
    return build_in_memory(from_files(str(tmp_path)), PUMPS)


def halves() -> tuple[pd.DataFrame, pd.DataFrame]:
    data = pumps()
    return data[data.device < "pump-02"].copy(), data[data.device >= "pump-02"].copy()


@pytest.mark.parametrize(
    "edit",
    [
        lambda one, two: (one.assign(pressure=one.pressure.round().astype("int64")), two),
        lambda one, two: (one.assign(pressure=one.pressure.astype("float32")), two),
        lambda one, two: (one.assign(time=one.time.astype("datetime64[ms, UTC]")), two),
        lambda one, two: (one.assign(time=one.time.dt.tz_convert("America/Lima")), two),
        lambda one, two: (one.astype({"state": "category"}), two),
        lambda one, two: (one, two[list(reversed(two.columns))]),
        lambda one, two: (one.assign(pressure=None), two),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_types_are_promoted_where_nothing_is_lost(tmp_path, edit, turned):
    one, two = edit(*halves())
    pool = two_files(tmp_path, *((two, one) if turned else (one, two)))
    assert len(pool.task_ids) == 4
    known = [frame for frame in (one, two) if frame.pressure.notna().all()]
    wanted = pd.concat(known).sort_values(["device", "time"], kind="stable")[["pressure", "flow"]]
    values = np.concatenate([pool.values[: pool.rows[2]], pool.values[pool.rows[2] :]])
    values = values[~np.isnan(values[:, 0])]
    np.testing.assert_array_equal(values, wanted.to_numpy(np.float32))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda one, two: (one.assign(time=one.time.dt.tz_localize(None)), two),
            "without a time zone in a.parq",
        ),
        (
            lambda one, two: (one.assign(state=one.state.map({"idle": 0, "run": 1, "surge": 2})), two),
            "column 'state' holds whole numbers in a.parquet and text in b.parquet",
        ),
        (
            lambda one, two: (one.assign(pressure=2**60 + 1), two),
            "a.parquet, row 1: column 'pressure' holds 1152921504606846977, which is not numbers",
        ),
    ],
)
def test_types_are_refused_by_file_and_column_where_something_is_lost(tmp_path, edit, message):
    with pytest.raises(DataError, match=message):
        two_files(tmp_path, *edit(*halves()))


def test_a_sensor_that_a_file_lacks_is_missing_there(tmp_path):
    one, two = halves()
    pool = two_files(tmp_path, one, two.drop(columns="flow"))
    assert pool.info.missing == {"flow": 240}
    assert any("'flow' is not in 1 of 2 files, first b.parquet" in line for line in pool.info.intake)


CSV = [
    ("plain", {}),
    ("semicolon-comma", {"sep": ";", "decimal": ","}),
    ("tab", {"sep": "\t"}),
    ("gzip", {"compression": "gzip"}),
    ("utf-16", {"encoding": "utf-16"}),
    ("bom", {"encoding": "utf-8-sig"}),
    ("windows", {"encoding": "cp1252", "lineterminator": "\r\n"}),
    ("quoted", {"quoting": 1}),
]


@pytest.mark.parametrize("options", [one for _, one in CSV], ids=[name for name, _ in CSV])
def test_csv_of_every_dialect_gives_the_same_pool(tmp_path, expected, options):
    path = tmp_path / ("data.csv.gz" if "compression" in options else "data.csv")
    data = pumps().rename(columns={"flow": "Durchfluß [°]"})
    data.to_csv(path, index=False, **options)
    schema = RecordingSchema.from_dict({**PUMPS.as_dict(), "channels": ["pressure", "Durchfluß [°]"]})
    same(build_in_memory(from_files(str(path)), schema), expected)


def test_a_file_a_device_is_told_by_its_name(tmp_path, expected):
    for name, rows in pumps().groupby("device"):
        rows.drop(columns="device").to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "README.md").write_text("how it was recorded")
    schema = RecordingSchema.from_dict({**PUMPS.as_dict(), "task": "file"})
    same(build_in_memory(from_files(str(tmp_path)), schema), expected)
    same(build_in_memory(from_files(str(tmp_path / "*.csv")), schema), expected)


def test_names_stay_text_and_gaps_in_csv_are_missing(tmp_path):
    lines = ["id,t,x,state"]
    for device in ("007", "7"):
        lines += [f"{device},{row},{'' if row == 3 else row / 4},{row // 8}" for row in range(16)]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    schema = RecordingSchema(
        kind="classification", task="id", time="t", channels=("x",), label="state", missing="drop"
    )
    pool = build_in_memory(from_files(str(tmp_path / "data.csv")), schema)
    assert pool.task_ids == ("007", "7")
    assert pool.info.missing == {"x": 2}
    assert pool.info.labels == ("0", "1")


def test_a_word_among_numbers_is_named_by_file_and_row(tmp_path):
    for name, word in (("a", "2.5"), ("b", "error")):
        (tmp_path / f"{name}.csv").write_text(f"d,x,y\n1,1.5,0\n1,{word},0\n")
    schema = RecordingSchema(kind="regression", task="d", channels=("x",), targets=("y",))
    with pytest.raises(DataError, match=r"b\.csv, row 2: column 'x' holds string, not numbers, .* 'error'"):
        build_in_memory(from_files(str(tmp_path)), schema)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n4,5\n", "give every line as many cells"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("a\0b", "binary data"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, content, message):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(DataError, match=rf"x\.csv[:,] .*{message}"):
        from_files(str(tmp_path / "x.csv")).columns  # noqa: B018


def test_a_file_without_a_header_and_with_comments(tmp_path):
    (tmp_path / "x.csv").write_text("# logger 3\nsep=;\n1;2,5\n2;3,5\n")
    source = from_files(str(tmp_path / "x.csv"))
    assert source.columns == ["column 1", "column 2"]
    assert [batch.column("column 2").to_pylist() for batch in source.batches(["column 2"])] == [[2.5, 3.5]]
    assert {"columns are parted by a semicolon", "2 line(s) before the table left out"} <= set(source.notes)


def test_mixed_formats_are_refused(tmp_path):
    pumps().to_parquet(tmp_path / "a.parquet")
    pumps().to_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match="both Parquet and CSV"):
        from_files(str(tmp_path))


def test_a_wide_table_has_a_column_for_each_task(tmp_path):
    time = pd.date_range("2026-01-01", periods=50, freq="h")
    homes = {f"home {number}": np.arange(50) + 100.0 * number for number in range(3)}
    homes["home 2"][4] = np.nan
    pd.DataFrame({"time": time, "outside": 3.5, **homes}).to_csv(tmp_path / "wide.csv", index=False)
    schema = RecordingSchema(
        kind="forecasting",
        task="home",
        time="time",
        channels=("load",),
        targets=("load",),
        window=4,
        horizon=2,
        wide="home *",
        missing="drop",
    )
    pool = build_in_memory(from_files(str(tmp_path / "wide.csv")), schema)
    assert pool.task_ids == ("home 0", "home 1", "home 2")
    assert pool.values[:50, 0].tolist() == homes["home 0"].tolist()
    assert pool.info.missing == {"load": 1}
    assert any("3 columns that fit 'home *'" in line for line in pool.info.intake)


def test_frames_of_other_libraries_come_through_arrow(expected):
    class Frame:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.Table.from_pandas(pumps(), preserve_index=False).__arrow_c_stream__(requested_schema)

    same(build_in_memory(from_frame(Frame()), PUMPS), expected)
    with pytest.raises(DataError, match="gives no Arrow table"):
        from_frame(dt.date.today())


def test_damage_is_named_by_file(tmp_path):
    pumps().to_parquet(tmp_path / "a.parquet")
    pq.write_table(pa.table({"device": ["x"]}), tmp_path / "b.parquet")
    content = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(content[:-20])
    with pytest.raises(DataError, match=r"b\.parquet: cannot be read as Parquet"):
        build_in_memory(from_files(str(tmp_path)), PUMPS)
