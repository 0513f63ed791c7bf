"""However a tool dresses a table (delimiter, quotes, units, encoding, packing), the pool has its numbers."""

import bz2
import gzip
import lzma
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, build_in_memory, from_files

SCHEMA = RecordingSchema(kind="regression", task="device", channels=("x",), targets=("y",), time="time")
PACKED = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@st.composite
def dressed(draw):
    """Rows, and the bytes of a file in which a tool wrote them."""
    rows = draw(st.integers(12, 60))
    numbers = st.integers(-99_999, 99_999).map(lambda one: one / draw_scale)
    draw_scale = draw(st.sampled_from([1, 10, 100]))
    x = draw(st.lists(numbers, min_size=rows, max_size=rows))
    y = draw(st.lists(numbers, min_size=rows, max_size=rows))
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    point = draw(st.sampled_from([".", ","])) if delimiter != "," else "."
    quote = '"' if draw(st.booleans()) else ""
    cells = [
        [
            f"d{at % 3}",
            f"2026-03-01 {at // 3:02d}:00:00",
            *(repr(one).replace(".", point) for one in pair),
            "ok",
        ]
        for at, pair in enumerate(zip(x, y, strict=True))
    ]
    lines = [delimiter.join(quote + cell + quote for cell in row) for row in cells]
    if quote and draw(st.booleans()):
        lines[5] = lines[5][:-1] + ', ""then""\nmore"'
    if draw(st.booleans()):
        lines.insert(draw(st.integers(0, 9)), "# calibrated here")
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(["", delimiter * 4, f"{rows} rows", "\x1a"])))
    header = delimiter.join(["device", "time", "x", "y", "note"])
    units = [delimiter.join(["", "", "bar", "l/min", ""])] if draw(st.booleans()) else []
    above = draw(st.sampled_from([[], ["Logger X200"], ["# made by us", ""]]))
    ends = draw(st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n"]]))
    every = [*above, header, *units, *lines]
    written = "".join(line + ends[at % len(ends)] for at, line in enumerate(every))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    ending = draw(st.sampled_from(list(PACKED)))
    return x, y, PACKED[ending](written.encode(encoding)), ending


def check_dressed(drawn: tuple) -> None:
    x, y, content, ending = drawn
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"fleet.csv{ending}"
        place.write_bytes(content)
        try:
            pool = build_in_memory(from_files(str(place)), SCHEMA)
        except DataError as error:
            raise AssertionError(content) from error  # nothing in it is open to doubt
    order = [at for device in range(3) for at in range(device, len(x), 3)]
    np.testing.assert_array_equal(pool.values[:, 0], np.array(x, np.float32)[order])
    np.testing.assert_array_equal(pool.targets[:, 0], np.array(y, np.float32)[order])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(dressed())
def test_however_a_table_is_dressed_the_pool_holds_its_numbers(drawn):
    check_dressed(drawn)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(dressed())
def test_two_thousand_dressed_tables(drawn):
    check_dressed(drawn)
