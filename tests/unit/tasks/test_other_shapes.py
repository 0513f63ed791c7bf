"""Tables of another shape: the numbers that were written, or an error with a remedy."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from acclimate.errors import DataError
from acclimate.tasks import from_files
from acclimate.tasks.guessing.guess import guess
from acclimate.tasks.report import report_on
from acclimate.tasks.sources import delimited
from tests.support.fleets import DEVICES, ROWS, as_written, csv, edited, fleet, opened, timed
from tests.support.written import text

COLUMNS = ["pressure", "flow", "state"]


def epoch_ms(frame: pd.DataFrame) -> list[int]:
    return [round(one.timestamp() * 1000) for one in frame.time]


def telemetry(rows: pd.DataFrame) -> dict[str, list]:
    """As ThingsBoard exports an entity: newest first, every value as text."""
    moments = epoch_ms(rows)
    return {
        name: [{"ts": ts, "value": str(one)} for ts, one in zip(moments, rows[name], strict=True)][::-1]
        for name in COLUMNS
    }


def entities(folder: Path, frame: pd.DataFrame) -> Path:
    return text(
        folder, "fleet.json", json.dumps({name: telemetry(own) for name, own in frame.groupby("device")})
    )


def a_file_an_entity(folder: Path, frame: pd.DataFrame) -> Path:
    for name, own in frame.groupby("device"):
        text(folder, f"{name}.json", json.dumps(telemetry(own)))
    return folder


def answer_of_influx(folder: Path, frame: pd.DataFrame) -> Path:
    series = [
        {
            "name": "pumps",
            "tags": {"device": name},
            "columns": ["time", *COLUMNS],
            "values": [
                [f"{row.time.isoformat()}Z", row.pressure, row.flow, row.state] for row in own.itertuples()
            ],
        }
        for name, own in frame.groupby("device")
    ]
    return text(folder, "fleet.json", json.dumps({"results": [{"statement_id": 0, "series": series}]}))


def answer_of_sql(folder: Path, frame: pd.DataFrame) -> Path:
    columns = [{"name": name, "type": "any"} for name in frame.columns]
    rows = frame.assign(time=frame.time.astype(str)).to_numpy(dtype=object).tolist()
    return text(
        folder, "fleet.json", json.dumps({"query": "q", "columns": columns, "dataset": rows, "count": 9})
    )


def split(folder: Path, frame: pd.DataFrame) -> Path:
    written = frame.assign(time=frame.time.astype(str)).to_json(orient="split")
    return text(folder, "fleet.json", written)


def days_since(first: float):
    """Days of an astronomer, with as many digits as tell a second."""
    return timed(lambda time: [f"{one.timestamp() / 86_400 + first:.8f}" for one in time])


RIGHT = {
    "an entity a key": entities,
    "a file an entity": a_file_an_entity,
    "an answer of InfluxDB": answer_of_influx,
    "an answer of SQL over HTTP": answer_of_sql,
    "a frame of pandas, split": split,
    "Julian days": days_since(2_440_587.5),
    "a form feed within a row": lambda folder, frame: edited(
        folder, frame, lambda rows: [rows[0] + ",note", *(row + ",\x0c \u2028 \x85 ok" for row in rows[1:])]
    ),
    "names over two lines": lambda folder, frame: edited(
        folder, frame, lambda rows: ["the,the,pump,pump,the", "device,time,pressure,flow,state", *rows[1:]]
    ),
}


@pytest.mark.parametrize("name", list(RIGHT))
def test_gives_the_numbers_that_were_written(name, tmp_path):
    frame = fleet()
    pool, declared = opened(RIGHT[name](tmp_path, frame))
    found = [channel.removeprefix("pump ") for channel in declared["channels"]]
    assert sorted(found) == ["flow", "pressure"]
    assert declared["sample_rate_hz"] == pytest.approx(1 / 60, rel=1e-2)
    as_written(pool, frame, found)


def test_modified_julian_days_are_told_by_their_name_and_no_days_of_a_workbook(tmp_path):
    frame = fleet()
    place = csv(
        tmp_path,
        frame.assign(MJD=(frame.time.astype("int64") / 1e6 / 86_400 + 40_587).round(8)).drop(columns="time"),
    )
    pool, declared = opened(place)
    assert declared["time"] == "MJD"
    assert pool.times[0] == pytest.approx(frame.time[0].timestamp(), abs=0.1)


def test_what_a_key_says_twice_at_one_moment_stays_two_rows(tmp_path):
    points = [{"ts": 1_767_225_600_000, "value": one} for one in (1.5, 2.5)]
    source = from_files(str(text(tmp_path, "a.json", json.dumps({"t": points, "u": points[:1]}))))
    (batch,) = source.batches(["ts", "t", "u"])
    assert batch.column("t").to_pylist() == [1.5, 2.5]
    assert batch.column("u").to_pylist() == [1.5, None]


def test_a_column_for_each_moment_is_a_row_for_each(tmp_path):
    frame = fleet()
    wide = frame.pivot(index="device", columns="time", values="flow")
    wide.columns = [str(one) for one in wide.columns]
    pool, declared = opened(csv(tmp_path, wide.reset_index()))
    assert declared["task"] == "device"
    assert declared["kind"] == "forecasting"
    as_written(pool, frame, ["flow"])


@pytest.mark.parametrize(
    ("form", "others"),
    [("%Y%m%d", {}), ("%Y-%m-%d", {"region": "north", "capacity": np.arange(DEVICES) + 0.5})],
)
def test_columns_of_days_are_rows(form, others, tmp_path):
    frame = fleet(step="1D")
    wide = frame.assign(time=frame.time.dt.strftime(form)).pivot(
        index="device", columns="time", values="flow"
    )
    wide = wide.reset_index().assign(**others)
    pool, declared = opened(csv(tmp_path, wide))
    assert (declared["task"], declared["time"]) == ("device", "moment")
    np.testing.assert_array_equal(pool.values[:, 0], frame.flow.astype(np.float32))


@pytest.mark.parametrize("form", ["{}.5.10", "0{}/2024", "2024-01-0{}", "2024010{}", "170000000{}"])
def test_channels_called_like_moments_beside_a_clock_stay_channels(form, tmp_path):
    names = [form.format(one) for one in range(1, 9)]
    values = np.random.default_rng(0).normal(size=(DEVICES * ROWS, 8)).round(2)
    frame = fleet()[["device", "time"]].join(pd.DataFrame(values, columns=names))
    declared = guess(from_files(str(csv(tmp_path, frame))), {}).declaration
    assert declared["time"] == "time"
    assert declared["channels"] == names


@pytest.mark.parametrize("said", [{"time": "timestamp"}, {}])
def test_serial_numbers_as_columns_stay_devices(said, tmp_path):
    wide = fleet().pivot(index="time", columns="device", values="flow")
    wide.columns = [str(1_420_000_001 + 7 * one) for one in range(DEVICES)]
    path = csv(tmp_path, wide.rename_axis("timestamp").reset_index())
    declared = guess(from_files(str(path)), {"wide": "14*", **said}).declaration
    assert (declared["task"], declared["time"]) == ("series", "timestamp")


def test_a_header_longer_than_a_first_look(tmp_path):
    random = np.random.default_rng(0)
    names = [f"the reading of sensor number {number:06d}" for number in range(3000)]
    frame = (
        fleet()
        .iloc[: 2 * ROWS]
        .join(pd.DataFrame(random.normal(size=(2 * ROWS, 3000)).round(2), columns=names))
    )
    source = from_files(str(csv(tmp_path, frame)))
    assert source.columns[5:] == names
    assert source.rows == 2 * ROWS


@pytest.mark.parametrize("pair", [("Y", "N"), ("T", "F"), ("y", "n")])
def test_letters_of_a_switch_are_a_channel(pair, tmp_path):
    frame = fleet()
    on = np.random.default_rng(0).random(len(frame)) < 0.5
    pool, declared = opened(csv(tmp_path, frame.assign(valve=np.where(on, *pair))))
    assert "valve" in declared["channels"]
    np.testing.assert_array_equal(pool.values[:, declared["channels"].index("valve")], on)


@pytest.mark.parametrize("value", [-1e30, 1e24, 1e38])
def test_powers_of_ten_that_nothing_measures_are_missing(value, tmp_path):
    frame = fleet()
    frame.loc[np.random.default_rng(0).random(len(frame)) < 0.05, "flow"] = value
    declared = guess(from_files(str(csv(tmp_path, frame))), {}).declaration
    assert declared["absent"] == [pytest.approx(value)]


def test_what_numbers_shuffled_rows_is_no_channel(tmp_path):
    frame = fleet().assign(sample=np.random.default_rng(0).permutation(DEVICES * ROWS))
    guessed = guess(from_files(str(csv(tmp_path, frame))), {})
    assert guessed.left_out["sample"] == "numbers the rows, in whatever order"


def test_whole_numbers_that_count_down_or_of_few_rows_are_a_channel(tmp_path):
    frame = fleet().groupby("device").head(6).reset_index(drop=True)
    shuffled = np.random.default_rng(0).permutation(len(frame)) + 7
    few = guess(from_files(str(csv(tmp_path, frame.assign(ticks=shuffled)))), {})
    assert "ticks" in few.declaration["channels"]
    down = fleet().assign(ticks=np.arange(DEVICES * ROWS)[::-1])
    assert "ticks" in guess(from_files(str(csv(tmp_path, down))), {}).declaration["channels"]


def test_links_that_lead_nowhere_are_said(tmp_path):
    csv(tmp_path, fleet())
    os.symlink("/nowhere/at/all.csv", tmp_path / "more.csv")
    assert any("more.csv" in note for note in from_files(str(tmp_path)).notes)


WRONG = {
    "series of sktime": (
        "fleet.ts",
        "# of UCR\n@problemName Pumps\n@classLabel true 1 2\n@data\n1,2,3:1\n",
        "sktime",
    ),
    "series of Monash": (
        "a.tsf",
        "@relation Pumps\n@attribute s string\n@frequency daily\n@data\nT1:1,2\n",
        "sktime",
    ),
    "a name beyond all measure": ("a.csv", f"device,time,{'x' * 200_000}\n", "is a quote left open"),
    "a byte of nothing": ("a.csv", "device,time,x\n" + "a,1,2\n" * 20 + "a,1\0,2\n", "line 22 holds a byte"),
    "signals as EDF": ("fleet.edf", "0       ", "is no table of rows by itself"),
    "a capture called CSV": ("fleet.csv", "\ud4c3", "tshark"),
}


@pytest.mark.parametrize("cell", ['d1,500,250.0,"ok', 'd1,"500,250.0,ok', '"d1,500,250.0,ok'])
@pytest.mark.parametrize("at", [3, 500])
@pytest.mark.parametrize("closed", [None, 900])
def test_a_quote_left_open_takes_no_rows_with_it(cell, at, closed, tmp_path):
    rows = [f"d{row % 3},{row},{row / 2},ok" for row in range(1000)]
    rows[at] = cell
    if closed:
        rows[closed] += '"'
    place = text(tmp_path, "a.csv", "\n".join(["device,time,x,note", *rows]))
    with pytest.raises(DataError, match=rf"a\.csv, row {at + 1}: .*(close the quote|close every quote)"):
        _ = from_files(str(place)).rows


@pytest.mark.parametrize("name", list(WRONG))
def test_says_what_is_wrong_and_what_to_do(name, tmp_path):
    file, content, message = WRONG[name]
    place = text(tmp_path, file, "")
    place.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(60) if content == "\ud4c3" else content.encode())
    with pytest.raises(DataError, match=re.escape(message)):
        opened(place)


def test_files_of_columns_of_the_same_rows_are_to_be_pasted(tmp_path):
    random = np.random.default_rng(0)
    np.savetxt(tmp_path / "X_train.txt", random.normal(size=(40, 6)))
    np.savetxt(tmp_path / "subject_train.txt", random.integers(1, 9, 40), fmt="%d")
    with pytest.raises(DataError, match=re.escape("`paste -d' ' subject_train.txt X_train.txt`")):
        opened(tmp_path)


@pytest.mark.parametrize("first", [0, DEVICES * ROWS // 2])
def test_minus_signs_of_typesetters_are_read(first, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 12)  # so that a later block brings the first one
    frame = fleet()
    frame["flow"] = (frame.flow - 20).round(3).where(frame.index >= first, frame.flow.round())
    written = frame.assign(flow=[str(one).replace("-", "\u2212") for one in frame.flow])
    pool, declared = opened(csv(tmp_path, written))
    as_written(pool, frame, declared["channels"])
    assert any("U+2212" in line for line in pool.info.intake)


def test_fractions_with_a_comma_in_quotes_where_commas_part_columns(tmp_path):
    frame = fleet().round({"pressure": 2, "flow": 2})
    pool, declared = opened(csv(tmp_path, frame, decimal=","))
    assert declared["channels"] == ["pressure", "flow"]
    as_written(pool, frame, declared["channels"])
    assert sum("fractions are written with a comma" in line for line in pool.info.intake) == 2


@pytest.mark.parametrize("name", ["Average", "TOTAL:", "Grand total"])
def test_a_line_that_sums_up_a_table_is_found(name, tmp_path):
    last = f"{name},2026-01-10 00:59:00,5.0,20.0,run"
    found = report_on(opened(edited(tmp_path, fleet(), lambda rows: [*rows, last]))[0]).findings
    assert [one.severity for one in found if "called like the last line" in one.what] == ["error"]
    assert not [
        one for one in report_on(opened(csv(tmp_path, fleet()))[0]).findings if "last line" in one.what
    ]


@pytest.mark.parametrize(
    ("name", "rows", "severity"),
    [("max31855-3", 2, []), ("avg-room", 2, []), ("count-7", 1, []), ("Max", 6, ["warning"])],
)
def test_a_device_that_is_called_a_bit_like_a_total_stops_no_training(name, rows, severity, tmp_path):
    own = [f"{name},2026-01-10 00:59:{second:02d},5.{second},20.0,run" for second in range(rows)]
    found = report_on(opened(edited(tmp_path, fleet(), lambda lines: [*lines, *own]))[0]).findings
    assert [one.severity for one in found if "called like the last line" in one.what] == severity


@pytest.mark.parametrize(
    "inside", [lambda name, rows: {name: rows}, lambda name, rows: {"all": {name: rows}}]
)
def test_a_single_list_of_moments_has_a_column_of_values_whatever_it_is_called(inside, tmp_path):
    for name in ("dev00", "dev01"):
        rows = [{"ts": at, "value": at / 7} for at in range(40)]
        text(tmp_path, f"{name}.json", json.dumps(inside(name, rows)))
    assert {"ts", "value"} <= set(from_files(str(tmp_path)).types)
    assert not {"dev00", "dev01"} & set(from_files(str(tmp_path)).types)


def test_a_key_that_all_files_share_names_what_its_moments_hold(tmp_path):
    frame = fleet()
    for device, rows in frame.groupby("device"):
        text(tmp_path, f"{device}.json", json.dumps({"flow": telemetry(rows)["flow"]}))
    pool, declared = opened(tmp_path)
    assert (declared["task"], declared["channels"]) == ("file", ["flow"])
    as_written(pool, frame, ["flow"])


ROW = [["p1", 1, 2.5]] * 9
UNFIT = {
    "moments that are lists": (
        {"temp": [{"ts": [1], "value": 1}] * 9, "flow": [{"ts": 1, "value": 1}]},
        "is no number or text",
    ),
    "a key called ts": ({"ts": [{"ts": 1, "value": 1}], "flow": [{"ts": 1, "value": 1}]}, "rename it"),
    "a key called entity": ({"p1": {"entity": [{"ts": 1, "value": 1}], "flow": []}}, "rename it"),
    "two columns of one name": ({"columns": ["device", "x", "x"], "values": ROW}, "are called 'x'"),
    "a tag called like a column": (
        {"columns": ["device", "t", "x"], "tags": {"x": "a"}, "values": ROW},
        "are called 'x'",
    ),
    "tags without names": ({"columns": ["device", "t", "x"], "tags": ["a"], "values": ROW}, "are no object"),
}


@pytest.mark.parametrize("name", list(UNFIT))
def test_a_document_that_would_lose_something_is_refused(name, tmp_path):
    document, message = UNFIT[name]
    with pytest.raises(DataError, match=message):
        _ = from_files(str(text(tmp_path, "a.json", json.dumps(document)))).rows


def test_a_table_whose_tags_are_null_has_none(tmp_path):
    table = {"columns": ["device", "t", "x"], "tags": None, "values": ROW}
    assert set(from_files(str(text(tmp_path, "a.json", json.dumps(table)))).types) == {"device", "t", "x"}


@pytest.mark.parametrize(
    "more", ["checked\nok, clean, dry, fine, good", "a, b\n1, 2, hot, 3, 4\nc, d, e, f, g\n"]
)
def test_notes_of_several_lines_are_no_rows(more, tmp_path):
    frame = fleet()
    notes = [more if at % 50 == 5 else "" for at in range(len(frame))]
    assert from_files(str(csv(tmp_path, frame.assign(note=notes)))).rows == len(frame)


def test_a_footer_in_quotes_of_three_lines_is_left_out(tmp_path):
    source = from_files(str(edited(tmp_path, fleet(), lambda rows: [*rows, '"made', "by", 'us"'])))
    assert source.rows == len(fleet())


def test_pairs_of_numbers_in_quotes_stay_text(tmp_path):
    frame = fleet()
    pins = [("1,2", "3,4", "5,16")[at % 3] for at in range(len(frame))]
    source = from_files(str(csv(tmp_path, frame.assign(pins=pins))))
    assert pa.types.is_string(source.types["pins"])
