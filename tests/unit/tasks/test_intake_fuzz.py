"""Tables nobody arranged: the pool holds exactly the input's numbers, or an error names what to mend."""

import math
import tempfile
from pathlib import Path

import numpy as np
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
    kind = draw(st.sampled_from(sorted(NUMBERS)))
    values = draw(st.lists(st.none() | NUMBERS[kind], min_size=rows, max_size=rows))
    owner = draw(st.lists(st.sampled_from(devices), min_size=rows, max_size=rows))
    targets = draw(st.lists(FLOATS, min_size=rows, max_size=rows))
    return {
        "device": owner,
        "seconds": seconds,
        "x": values,
        "y": targets,
        "kind": kind,
        "moment": draw(st.sampled_from(sorted(MOMENTS))),
        "zone": draw(st.sampled_from(ZONES)),
        "category": draw(st.booleans()),
        "form": draw(st.sampled_from(["frame", "parquet", "two files", "csv", "tsv", "utf-16"])),
    }


def as_arrow(drawn: dict) -> pa.Table:
    how, unit = MOMENTS[drawn["moment"]]
    stamps = pa.array(drawn["seconds"], pa.timestamp("s"))
    if how == "timestamp":
        time = stamps.cast(pa.timestamp(unit, drawn["zone"]))
    elif how == "text":
        suffix = "Z" if drawn["zone"] else ""
        time = pa.array([str(np.datetime64(one, "s")) + suffix for one in drawn["seconds"]])
    else:
        time = pa.array([one * (1000 if unit == "ms" else 1) for one in drawn["seconds"]])
    device = pa.array(drawn["device"])
    return pa.table(
        {
            "device": device.dictionary_encode() if drawn["category"] else device,
            "time": time,
            "x": pa.array(drawn["x"], pa.type_for_alias(drawn["kind"])),
            "y": pa.array(drawn["y"], pa.float64()),
        }
    )


def build(drawn: dict) -> TaskPool:
    table = as_arrow(drawn)
    if drawn["form"] == "frame":
        return build_in_memory(from_frame(table), SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "data"
        place.mkdir()
        if drawn["form"] == "parquet":
            pq.write_table(table, place / "a.parquet")
        elif drawn["form"] == "two files":
            half = table.num_rows // 2
            pq.write_table(table.slice(0, half), place / "a.parquet")
            pq.write_table(table.slice(half), place / "b.parquet")
        else:
            plain = table.set_column(0, "device", table["device"].cast(pa.string()))
            text = plain.set_column(1, "time", plain["time"].cast(pa.string()))
            sink = place / f"a.{'tsv' if drawn['form'] == 'tsv' else 'csv'}"
            pv.write_csv(text, sink, pv.WriteOptions(delimiter="\t" if drawn["form"] == "tsv" else ","))
            if drawn["form"] == "utf-16":
                sink.write_bytes(sink.read_bytes().decode().encode("utf-16"))
        return build_in_memory(from_files(str(place)), SCHEMA)


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


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_the_pool_holds_exactly_the_inputs_numbers_or_says_what_to_mend(drawn):
    check(drawn)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_two_thousand_tables(drawn):
    check(drawn)
