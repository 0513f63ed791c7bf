"""Files that strangers bring: each gives the numbers that were written, or an error that says what to do."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, build_in_memory, from_files
from acclimate.tasks.guessing.guess import guess
from acclimate.tasks.report import report_on
from acclimate_device.preprocessing import Preparation
from acclimate_device.protocol import Preprocessing
from tests.support.fleets import DEVICES, ROWS, as_written, csv, edited, fleet, opened, timed
from tests.support.written import (
    annotated,
    cut,
    document,
    halved,
    lines,
    logged,
    packed,
    structured,
    text,
    zipped,
)


def epoch(time: pd.Series) -> pd.Series:
    return time.map(pd.Timestamp.timestamp).astype("int64")


RIGHT = {
    "a JSON list": document(None),
    "a JSON list over many lines": document(2),
    "a JSON list within an object": document(None, '{{"meta": {{"n": 1}}, "data": {}}}'),
    "compressed by Zstandard": packed("zstd", ".zst"),
    "compressed by Brotli": packed("brotli", ".br"),
    "tables of InfluxDB": annotated,
    "days and times of day by type": halved,
    "a column for each number of a moment": lambda folder, frame: csv(
        folder,
        frame.assign(
            year=frame.time.dt.year,
            month=frame.time.dt.month,
            day=frame.time.dt.day,
            hour=frame.time.dt.hour,
            min=frame.time.dt.minute,
        ).drop(columns="time"),
    ),
    "UTF-32": lambda folder, frame: csv(folder, frame, encoding="utf-32"),
    "a header over two lines": lambda folder, frame: edited(
        folder, frame, lambda rows: [rows[0].replace("state", '"state\n(of the pump)"'), *rows[1:]]
    ),
    "inches within a cell": lambda folder, frame: edited(
        folder, frame, lambda rows: [rows[0] + ",pipe", *(row + ',5" wide' for row in rows[1:])]
    ),
    "quotes behind a backslash": lambda folder, frame: edited(
        folder, frame, lambda rows: [rows[0] + ",note", *(row + ',"say \\"hi\\", ok"' for row in rows[1:])]
    ),
    "columns without names": lambda folder, frame: edited(
        folder, frame, lambda rows: ["device,time,,,state", *rows[1:]]
    ),
    "columns called by numbers": lambda folder, frame: edited(
        folder, frame, lambda rows: ["device,time,7,1,state", *rows[1:]]
    ),
    "JSON lines with objects inside": lines,
    "structures in Parquet": structured,
    "a zip of files": zipped,
    "a line of units": lambda folder, frame: edited(
        folder, frame, lambda rows: [rows[0], ",,bar,l/min,", *rows[1:]]
    ),
    "a logger's preamble": lambda folder, frame: edited(
        folder, frame, lambda rows: ["Logger X200", "serial: 17, ok", "", *rows]
    ),
    "epoch in s and ms": timed(lambda time: epoch(time) * np.where(np.arange(len(time)) < 180, 1, 1000)),
    "epoch in s and ns": timed(lambda time: epoch(time) * np.where(np.arange(len(time)) % 2, 1, 10**9)),
    "digits without marks": timed(lambda time: time.dt.strftime("%Y%m%d%H%M%S")),
    "names of months": timed(lambda time: time.dt.strftime("%d-%b-%Y %H:%M")),
    "year first with strokes": timed(lambda time: time.dt.strftime("%Y/%m/%d %H:%M:%S")),
    "halves of a day behind an ISO day": timed(lambda time: time.dt.strftime("%Y-%m-%d %I:%M:%S %p")),
    "a comma before the fraction": timed(lambda time: time.dt.strftime("%Y-%m-%d %H:%M:%S") + ",000"),
    "no marks and a T": timed(lambda time: time.dt.strftime("%Y%m%dT%H%M%SZ")),
    "as web servers log": timed(lambda time: time.dt.strftime("%d/%b/%Y:%H:%M:%S +0000")),
    "as browsers print": timed(lambda time: time.dt.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (UTC)")),
    "a zone named once more": timed(lambda time: time.dt.strftime("%Y-%m-%dT%H:%M:%S+01:00[Europe/Berlin]")),
    "fractions of a second": timed(lambda time: time.dt.strftime("%d.%m.%Y %H:%M:%S.%f")),
    "zones mixed": timed(
        lambda time: [
            stamp.tz_localize("UTC").tz_convert(("Asia/Tokyo", "America/St_Johns")[at % 2]).isoformat()
            for at, stamp in enumerate(time)
        ]
    ),
    "date and time of day apart": lambda folder, frame: csv(
        folder,
        frame.assign(Date=frame.time.dt.strftime("%d.%m.%Y"), Time=frame.time.dt.strftime("%H:%M:%S")).drop(
            columns="time"
        ),
        sep=";",
        decimal=",",
    ),
}


NAMES = {"column 3": "pressure", "column 4": "flow", "7": "pressure", "1": "flow"}


@pytest.mark.parametrize("name", list(RIGHT))
def test_gives_the_numbers_that_were_written(name, tmp_path):
    frame = fleet(
        "2026-01-27" if name in ("date and time of day apart", "fractions of a second") else "2026-01-10"
    )
    pool, declared = opened(RIGHT[name](tmp_path, frame))
    assert declared["time"], declared
    found = [NAMES.get(channel, channel.removeprefix("m.")) for channel in declared["channels"]]
    assert sorted(found) == ["flow", "pressure"]
    assert declared["sample_rate_hz"] == pytest.approx(1 / 60, rel=1e-3)
    as_written(pool, frame, found)


@pytest.mark.parametrize(("mark", "point", "sep"), [(",", ".", ","), (".", ",", ";")])
def test_thousands_are_parted_by_commas_or_points(tmp_path, mark, point, sep):
    power = np.random.default_rng(1).normal(12_000, 9_000, DEVICES * ROWS).round(2)
    swap = str.maketrans({",": mark, ".": point})
    frame = fleet().assign(power=power)
    pool, declared = opened(
        csv(tmp_path, frame.assign(power=[f"{one:,.2f}".translate(swap) for one in power]), sep=sep)
    )
    assert declared["channels"] == ["pressure", "flow", "power"]
    as_written(pool, frame, declared["channels"])
    assert any("thousands are parted" in line for line in pool.info.intake)


def test_what_instruments_write_for_nothing_is_missing(tmp_path):
    frame, random = fleet(), np.random.default_rng(2)
    frame.loc[random.random(len(frame)) < 0.05, "pressure"] = -999
    frame["raw"] = random.integers(300, 400, len(frame))
    frame.loc[random.random(len(frame)) < 0.05, "raw"] = 65535
    frame.loc[random.random(len(frame)) < 0.05, "flow"] = 9999.9
    place = csv(tmp_path, frame)
    pool, declared = opened(place)
    assert sorted(declared["absent"]) == [-999, 9999.9, 65535]
    assert pool.info.missing == {
        "pressure": int((frame.pressure == -999).sum()),
        "flow": int((frame.flow == 9999.9).sum()),
        "raw": int((frame.raw == 65535).sum()),
    }
    frame.astype({"flow": "float32"}).to_parquet(tmp_path / "single.parquet")
    single = build_in_memory(
        from_files(str(tmp_path / "single.parquet")), RecordingSchema.from_dict(declared)
    )
    assert single.info.missing == pool.info.missing
    untold = {key: value for key, value in declared.items() if key not in ("absent", "missing")}
    report = report_on(build_in_memory(from_files(str(place)), RecordingSchema.from_dict(untold)))
    assert [one.severity for one in report.findings if "absent: [" in one.remedy] == ["error"] * 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_device_takes_the_same_numbers_for_missing(dtype):
    window = np.random.default_rng(3).normal(size=(2, 8)).astype(dtype)
    window[0, 3:5] = window[1, 0] = -999.9
    steps = Preprocessing(missing="hold", absent=(-999.9,))
    device = Preparation(("a", "b"), 2, (0.0, 0.0), (1.0, 1.0), steps)
    trained = np.where(window == dtype(-999.9), np.nan, window).astype(dtype)
    np.testing.assert_array_equal(device.repair(device.known(window)), device.repair(trained))
    assert np.isfinite(device.repair(device.known(window))).all()


def test_infinite_values_are_missing_and_on_off_is_a_channel(tmp_path):
    frame = fleet().assign(valve=np.arange(DEVICES * ROWS) % 3 == 0)
    frame.loc[::37, "pressure"] = np.inf
    pool, declared = opened(csv(tmp_path, frame))
    assert declared["missing"] in ("drop", "hold")
    assert declared["channels"] == ["pressure", "flow", "valve"]
    assert pool.info.missing == {"pressure": 10}


@pytest.mark.parametrize(
    ("spelled", "severity"),
    [
        (lambda name: name + " ", "error"),
        (lambda name: name + "\u200b", "error"),
        (lambda name: name.replace("\u00e4", "a\u0308"), "error"),
        (str.upper, "warning"),
    ],
    ids=["blank", "zero width", "composition", "case"],
)
def test_names_that_look_alike_are_found(tmp_path, spelled, severity):
    frame = fleet()
    frame["device"] = "p\u00e4" + frame.device
    half = np.arange(len(frame)) % 2 == 0
    frame.loc[half, "device"] = frame.device[half].map(spelled)
    report = report_on(opened(csv(tmp_path, frame))[0])
    assert [one.severity for one in report.findings if "several ways" in one.what] == [severity]


def test_a_clock_that_was_not_set_is_found(tmp_path):
    frame = fleet()
    frame.loc[70, "time"] = pd.Timestamp("2000-01-01")
    report = report_on(opened(csv(tmp_path, frame))[0])
    assert [one.what for one in report.findings if "'p01'" in one.what and "not set" in one.what]


def files(folder: Path, frame: pd.DataFrame, write) -> Path:
    for number, (device, rows) in enumerate(frame.groupby("device")):
        write(folder / f"{device}.csv", rows, number)
    return folder


def parquet(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_parquet(folder / "fleet.parquet")
    return folder / "fleet.parquet"


WRONG = {
    "no day of the calendar": (
        timed(lambda time: time.dt.strftime("30.02.%Y %H:%M")),
        r"row 1: time column 'time' holds '30\.02\.2026 00:00', no time",
    ),
    "zone in some rows": (
        timed(lambda time: [str(one) + ("Z" if at % 2 else "") for at, one in enumerate(time)]),
        r"row 2: time column 'time' holds '2026-01-10 00:01:00Z', no time",
    ),
    "day and month open": (
        timed(lambda time: time.dt.strftime("%m/%d/%Y %I:%M %p")),
        "day and month cannot be told apart",
    ),
    "years of two digits": (
        timed(lambda time: time.dt.strftime("%d.%m.%y %H:%M")),
        r"cannot be told apart: .* 2026-01-10 \(day first\), .* 2010-01-26 \(year first\): say it with",
    ),
    "a clock at zero": (
        timed(lambda time: epoch(time).where(np.arange(len(time)) != 7, 0)),
        r"row 8: time column 'time' holds 0, no moment between 1990 and 2100",
    ),
    "damage inside": (
        lambda folder, frame: edited(
            folder, frame, lambda rows: [*rows[:50], "\0" * 9 + rows[50][9:], *rows[51:]]
        ),
        "fleet.csv",
    ),
    "a header in some files": (
        lambda folder, frame: files(
            folder, frame, lambda path, rows, number: rows.to_csv(path, index=False, header=number % 2 == 0)
        ),
        "p01.csv has no header, and p00.csv has one",
    ),
    "a column spelled in two ways": (
        lambda folder, frame: files(
            folder,
            frame,
            lambda path, rows, number: rows.rename(columns={"flow": "Flow"} if number == 3 else {}).to_csv(
                path, index=False
            ),
        ),
        "column 'flow' of p00.csv is called 'Flow' in p03.csv",
    ),
    "numbers beyond float64": (
        lambda folder, frame: parquet(
            folder, frame.assign(flow=np.arange(len(frame), dtype=np.uint64) ** 2 + 2**63)
        ),
        "row 2: column 'flow' holds 9223372036854775809, a whole number that no float64 keeps",
    ),
    "one device": (
        lambda folder, frame: csv(folder, frame[frame.device == "p00"]),
        "'device' holds one device, 'p00'",
    ),
    "lists": (
        lambda folder, frame: parquet(
            folder, frame.assign(x=[[1.0, 2.0]] * len(frame)).drop(columns=["pressure", "flow"])
        ),
        "'x' holds lists",
    ),
    "a log of tables": (
        lambda folder, frame: logged(folder, frame, "_delta_log", "00000000000000000000.json"),
        "is a table of Delta, whose log says which of its files count",
    ),
    "a log of snapshots": (
        lambda folder, frame: logged(folder, frame, "metadata", "v1.metadata.json"),
        "is a table of Iceberg",
    ),
    "cut short in compression": (
        lambda folder, frame: cut(folder, gzip.compress(frame.to_csv(index=False).encode())),
        r"fleet\.csv\.gz: cannot be read \(Compressed file ended",
    ),
    "an archive": (lambda folder, frame: text(folder, "fleet.tar.gz", ""), "is an archive: unpack it"),
    "a page of the web": (
        lambda folder, frame: text(folder, "fleet.csv", "<!DOCTYPE html>\n<html>404, not found"),
        "is a page of the web",
    ),
    "a pointer of Git LFS": (
        lambda folder, frame: text(
            folder, "fleet.csv", "version https://git-lfs.github.com/spec/v1\nsize 9\n"
        ),
        "git lfs pull",
    ),
    "line protocol": (
        lambda folder, frame: text(
            folder, "fleet.txt", 'pump,device=p00 flow=1.5,state="on, again" 1767225600000000000\n' * 9
        ),
        "is InfluxDB line protocol: export it as CSV",
    ),
    "a JSON object a column": (
        lambda folder, frame: text(folder, "fleet.json", frame.to_json(date_format="iso")),
        r"fleet\.json: is no list of JSON objects .*orient='records'",
    ),
    "half a JSON list": (
        lambda folder, frame: text(
            folder, "fleet.json", frame.to_json(orient="records", date_format="iso")[:-90]
        ),
        r"fleet\.json: is no list of JSON objects \(what begins with",
    ),
    "a workbook": (
        lambda folder, frame: text(folder, "fleet.xlsx", "PK"),
        "is a workbook: save the sheet as CSV",
    ),
    "nothing in the file": (lambda folder, frame: text(folder, "fleet.csv", ""), "the file is empty"),
    "half a JSON line": (
        lambda folder, frame: text(folder, "fleet.jsonl", '{"device": "a", "x": 1}\n{"device": '),
        "no JSON object a line",
    ),
    "JSON of two types": (
        lambda folder, frame: text(folder, "fleet.jsonl", '{"id": "a", "x": 1}\n{"id": "a", "x": "high"}'),
        "column 'x' holds whole numbers in rows",
    ),
    "nothing there": (lambda folder, frame: folder / "nowhere.csv", "check the name"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_says_what_is_wrong_and_what_to_do(name, tmp_path):
    write, message = WRONG[name]
    with pytest.raises(DataError, match=message):
        opened(write(tmp_path, fleet()))


def test_serial_numbers_longer_than_a_float_name_their_devices(tmp_path):
    frame = fleet()
    frame["device"] = [str(2**64 + int(one[1:])) for one in frame.device]
    assert len(opened(csv(tmp_path, frame))[0].task_ids) == DEVICES


def test_a_wide_table_names_the_row_of_the_file(tmp_path):
    wide = fleet().pivot(index="time", columns="device", values="flow").reset_index().astype(object)
    wide.loc[40, "p03"] = "broken"
    wide.to_csv(tmp_path / "wide.csv", index=False)
    with pytest.raises(DataError, match=r"'p03' holds string, not numbers"):
        guess(from_files(str(tmp_path / "wide.csv")), {"wide": "p*"})
    wide.loc[40, "p03"], wide.loc[40, "time"] = 1.0, "soon"
    place = from_files(str(csv(tmp_path, wide)))
    schema = RecordingSchema.from_dict(
        {"kind": "forecasting", "task": "home", "time": "time", "channels": ["flow"], "targets": ["flow"]}
        | {"wide": "p*", "window": 4, "horizon": 1}
    )
    with pytest.raises(DataError, match=r"fleet.csv, row 41: time column 'time' holds 'soon'"):
        build_in_memory(place, schema)


@pytest.mark.parametrize("names", [("TRUE", "FALSE"), ("true", "false"), ("True", "False")])
def test_devices_and_classes_called_true_keep_their_spelling_and_channels_are_1_and_0(names, tmp_path):
    frame = fleet()
    frame["device"] = np.where(frame.device < "p03", *names)
    frame["open"] = np.where(frame.flow > 20, *names)
    frame["time"] = pd.Timestamp("2026-01-10") + np.tile(np.arange(3 * ROWS), 2) * pd.Timedelta("1min")
    given = {"kind": "classification", "task": "device", "label": "open"}
    place = from_files(str(csv(tmp_path, frame)))
    meaning = {"time": "time", "channels": ["pressure", "flow"]}
    pool = build_in_memory(place, RecordingSchema.from_dict(given | meaning))
    assert sorted(pool.task_ids) == sorted(names)
    assert sorted(pool.info.labels) == sorted(names)
    meaning = {"kind": "regression", "task": "device", "time": "time", "channels": ["open"]}
    pool = build_in_memory(place, RecordingSchema.from_dict(meaning | {"targets": ["flow"]}))
    wanted = frame.sort_values(["device", "time"], kind="stable").open == names[0]
    np.testing.assert_array_equal(np.asarray(pool.values)[:, 0], wanted.to_numpy(dtype=np.float32))
