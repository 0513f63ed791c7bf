"""Tables nobody arranged: the pool holds exactly the input's numbers, or an error names what to mend."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, TaskPool, build_in_memory, from_files, from_frame

SCHEMA = RecordingSchema(
    kind="regression", task="device", time="time", channels=("x",), targets=("y",), missing="drop"
)
ZONES = (None, "UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu")
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
FLOATS = st.floats(-1e6, 1e6, width=32)
NUMBERS = {
    "float64": FLOATS,
    "float32": FLOATS,
    "int64": st.integers(-(2**24), 2**24),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
}
MOMENTS = {
    "s": ("timestamp", "s"),
    "ms": ("timestamp", "ms"),
    "ns": ("timestamp", "ns"),
    "text": ("text", ""),
    "day first": ("text", "%d.%m.%Y %H:%M:%S"),
    "month first": ("text", "%m/%d/%y, %I:%M:%S %p"),
    "month by name": ("text", "%a %d %b %Y %H.%M.%S"),
    "epoch ms": ("number", "ms"),
    "epoch s": ("number", "s"),
}


@st.composite
def tables(draw):
    """Devices, whole seconds of distinct moments, numbers with nulls; in any order and of any types."""
    devices = draw(st.lists(NAMES.map(str.strip).filter(bool), min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(4, 24))
    seconds = draw(
        st.lists(st.integers(1_700_000_000, 1_709_000_000), min_size=rows, max_size=rows, unique=True)
    )
    form = draw(st.sampled_from(["frame", "parquet", "two files", "two CSV", "csv", "tsv", "utf-16"]))
    kinds = [draw(st.sampled_from(sorted(NUMBERS)))]
    if form.startswith("two"):
        kinds.append(draw(st.sampled_from(sorted(NUMBERS))))
    values = [
        draw(st.none() | NUMBERS[kinds[row * len(kinds) // rows]])  # a type for each file
        for row in range(rows)
    ]
    owner = draw(st.lists(st.sampled_from(devices), min_size=rows, max_size=rows))
    targets = draw(st.lists(FLOATS, min_size=rows, max_size=rows))
    return {
        "device": owner,
        "seconds": seconds,
        "x": values,
        "y": targets,
        "kinds": kinds,
        "moment": draw(st.sampled_from(sorted(MOMENTS))),
        "zone": draw(st.sampled_from(ZONES)),
        "category": draw(st.booleans()),
        "form": form,
    }


def as_arrow(drawn: dict, kind: str) -> pa.Table:
    how, unit = MOMENTS[drawn["moment"]]
    stamps = pa.array(drawn["seconds"], pa.timestamp("s"))
    if how == "timestamp":
        time = stamps.cast(pa.timestamp(unit, drawn["zone"]))
    elif how == "text":
        written = pd.Series(pd.to_datetime(drawn["seconds"], unit="s")).dt.strftime(
            unit or "%Y-%m-%dT%H:%M:%S"
        )
        time = pa.array((written + ("Z" if drawn["zone"] else "")).tolist(), pa.string())
    else:
        time = pa.array([one * (1000 if unit == "ms" else 1) for one in drawn["seconds"]])
    device = pa.array(drawn["device"])
    return pa.table(
        {
            "device": device.dictionary_encode() if drawn["category"] else device,
            "time": time,
            "x": pa.array(drawn["x"], pa.type_for_alias(kind)),
            "y": pa.array(drawn["y"], pa.float64()),
        }
    )


def part(drawn: dict, rows: slice, kind: str) -> pa.Table:
    columns = {name: drawn[name][rows] for name in ("device", "seconds", "x", "y")}
    return as_arrow({**drawn, **columns}, kind)


def build(drawn: dict) -> TaskPool:
    kinds, half = drawn["kinds"], -(-len(drawn["x"]) // 2)
    spans = [slice(0, half), slice(half, None)] if len(kinds) == 2 else [slice(None)]
    tables = [part(drawn, span, kind) for span, kind in zip(spans, kinds, strict=True)]
    if drawn["form"] == "frame":
        return build_in_memory(from_frame(tables[0]), SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "data"
        place.mkdir()
        for number, table in enumerate(tables):
            write(table, drawn["form"], place / f"{number}")
        return build_in_memory(from_files(str(place)), SCHEMA)


def write(table: pa.Table, form: str, place: Path) -> None:
    if form in ("parquet", "two files"):
        pq.write_table(table, place.with_suffix(".parquet"))
        return
    plain = table.set_column(0, "device", table["device"].cast(pa.string()))
    text = plain.set_column(1, "time", plain["time"].cast(pa.string()))
    sink = place.with_suffix(".tsv" if form == "tsv" else ".csv")
    pv.write_csv(text, sink, pv.WriteOptions(delimiter="\t" if form == "tsv" else ","))
    if form == "utf-16":
        sink.write_bytes(sink.read_bytes().decode().encode("utf-16"))


def check(drawn: dict) -> None:
    try:
        pool = build(drawn)
    except DataError as error:
        message = str(error)
        assert ":" in message  # what is wrong, and what to do
        assert any(word in message for word in ("column", "task", "example", "label", "header", "columns"))
        return
    wanted: dict[str, list] = {}
    for device, second, x, y in sorted(
        zip(drawn["device"], drawn["seconds"], drawn["x"], drawn["y"], strict=True), key=lambda row: row[:2]
    ):
        wanted.setdefault(device, []).append((second, math.nan if x is None else float(x), y))
    assert sorted(pool.task_ids) == sorted(wanted)
    for task, name in enumerate(pool.task_ids):
        rows = slice(int(pool.rows[task]), int(pool.rows[task + 1]))
        second, x, y = map(np.array, zip(*wanted[name], strict=True))
        np.testing.assert_array_equal(pool.times[rows] - pool.times[rows][0], second - second[0])
        np.testing.assert_array_equal(pool.values[rows, 0], x)
        np.testing.assert_array_equal(pool.targets[rows, 0], y)


LOCAL = "Europe/Berlin"


@st.composite
def nights(draw):
    """Devices that run through a night in which clocks are changed, as a clock on the wall shows it."""
    step = draw(st.sampled_from([5, 10, 15, 20, 30, 60])) * 60
    night = draw(st.sampled_from(["2025-10-26", "2025-03-30"]))  # set back, and set ahead, at 01:00 UTC
    begins = draw(st.lists(st.integers(-12, 4), min_size=1, max_size=3))
    rows = draw(st.integers(8, 40))
    one = pd.Timestamp(night, tz="UTC") + pd.Timedelta(hours=1)
    moments = [[one + pd.Timedelta(seconds=step * (begin + row)) for row in range(rows)] for begin in begins]
    return moments, draw(st.sampled_from(["parquet", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M"]))


def check_night(drawn: tuple) -> None:
    moments, form = drawn
    times = [moment.tz_convert(LOCAL).tz_localize(None) for device in moments for moment in device]
    devices = [f"d{number}" for number, device in enumerate(moments) for _ in device]
    frame = pd.DataFrame({"device": devices, "time": times, "x": np.arange(len(times)), "y": 1.0})
    with tempfile.TemporaryDirectory() as folder:
        if form == "parquet":
            frame.to_parquet(Path(folder) / "a.parquet")
        else:
            frame.assign(time=frame.time.dt.strftime(form)).to_csv(Path(folder) / "a.csv", index=False)
        try:
            pool = build_in_memory(from_files(folder), replace(SCHEMA, time_zone=LOCAL))
        except DataError as error:
            if "comes twice" not in str(error):
                raise
            return
    wanted = [moment.timestamp() for device in moments for moment in device]
    np.testing.assert_array_equal(pool.times, wanted)
    np.testing.assert_array_equal(pool.values[:, 0], frame.x)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_the_pool_holds_exactly_the_inputs_numbers_or_says_what_to_mend(drawn):
    check(drawn)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(nights())
def test_local_times_become_utc_or_say_that_they_cannot(drawn):
    check_night(drawn)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(nights())
def test_three_hundred_nights(drawn):
    check_night(drawn)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_two_thousand_tables(drawn):
    check(drawn)
