"""Exports of loggers, historians and spreadsheets: what their writers meant is what arrives."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acclimate.errors import DataError
from acclimate.tasks.guessing.guess import guess
from acclimate.tasks.sources import from_files
from tests.support.fleets import as_written, csv, edited, fleet, opened, timed


def written(folder: Path, name: str, content: str | bytes) -> Path:
    place = folder / name
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def influx(folder: Path, frame: pd.DataFrame) -> Path:
    rows = [
        "#group,false,false,true,true,true,true,true",
        "#datatype,string,long,dateTime:RFC3339,string,double,double,string",
        "#default,_result,,,,,,",
        ",result,table,_time,device,pressure,flow,state",
        *(
            f",,0,{row.time.isoformat()}Z,{row.device},{row.pressure},{row.flow},{row.state}"
            for row in frame.itertuples()
        ),
    ]
    return written(folder, "influx.csv", "\n".join(rows))


def labview(folder: Path, frame: pd.DataFrame) -> Path:
    head = "LabVIEW Measurement\t\nSeparator\tTab\n***End_of_Header***\t\n\t\nChannels\t2\n"
    table = "***End_of_Header***\t\t\t\t\n" + frame.to_csv(index=False, sep="\t")
    return written(folder, "run.lvm", head + table)


def lines_changed(change):
    return lambda folder, frame: edited(folder, frame, change)


def bytes_of(change):
    return lambda folder, frame: written(folder, "fleet.csv", change(frame.to_csv(index=False)))


def as_text(folder: Path, frame: pd.DataFrame) -> Path:
    frame = frame.assign(time=(frame.time.map(pd.Timestamp.timestamp) * 1000).astype("int64"))
    numbers = ["time", "pressure", "flow"]
    frame[numbers] = frame[numbers].astype(str)
    frame.to_parquet(folder / "fleet.parquet")
    return folder / "fleet.parquet"


def measured(folder: Path, frame: pd.DataFrame) -> Path:
    units = {"pressure": "{} bar", "flow": "{}l/min"}
    return csv(folder, frame.assign(**{name: frame[name].map(unit.format) for name, unit in units.items()}))


RIGHT = {
    "InfluxDB": influx,
    "LabVIEW": labview,
    "three lines of header": lines_changed(
        lambda rows: [rows[0], "name,stamp,Pressure,Flow,State", ",UTC,[bar],[l/min],", *rows[1:]]
    ),
    "units above the header": lines_changed(lambda rows: [",,bar,l/min,", *rows]),
    "a header behind a hash": lines_changed(lambda rows: ["# made by x", "# " + rows[0], *rows[1:]]),
    "the header again in the middle": lines_changed(lambda rows: [*rows[:99], rows[0], *rows[99:]]),
    "files strung together with their marks": bytes_of(
        lambda text: (
            (one := text.encode("utf-8-sig"))[: one.index(b"p03")]
            + b"\xef\xbb\xbf"
            + text.splitlines(keepends=True)[0].encode()
            + b"\xef\xbb\xbf"
            + one[one.index(b"p03") :]
        )
    ),
    "comments among the rows": lines_changed(lambda rows: [*rows[:99], "# reboot", *rows[99:]]),
    "a count of rows at the end": lines_changed(lambda rows: [*rows, "", "(360 rows)"]),
    "a delimiter after every row": lines_changed(lambda rows: [rows[0], *(row + "," for row in rows[1:])]),
    "blanks after the commas": lines_changed(lambda rows: [row.replace(",", ", ") for row in rows]),
    "an index without a name": lines_changed(
        lambda rows: [f",{rows[0]}", *(f"{at},{row}" for at, row in enumerate(rows[1:]))]
    ),
    "UTF-16 without a mark": bytes_of(lambda text: text.encode("utf-16-le")),
    "the end of a file of DOS": bytes_of(lambda text: text.encode() + b"\x1a"),
    "zeros after a power cut": bytes_of(lambda text: text.encode() + b"\0" * 512),
    "a unit behind every number": measured,
    "numbers and times as text": as_text,
    "UTC as a word": timed(lambda time: time.dt.strftime("%Y-%m-%d %H:%M:%S.000 UTC")),
    "as C writes it": timed(lambda time: time.dt.strftime("%a %b %d %H:%M:%S %Y")),
    "days of a workbook": timed(
        lambda time: ((time - pd.Timestamp("1899-12-30")) / pd.Timedelta("1D")).round(9)
    ),
}


@pytest.mark.parametrize("name", list(RIGHT))
def test_what_was_meant_arrives(name, tmp_path):
    frame = fleet()
    pool, declared = opened(RIGHT[name](tmp_path, frame))
    assert declared["task"] == "device"
    assert declared["channels"] == ["pressure", "flow"], declared
    assert declared["sample_rate_hz"] == pytest.approx(1 / 60, rel=1e-3)
    as_written(pool, frame, ["pressure", "flow"])


def test_columns_parted_by_blanks(tmp_path):
    frame = fleet().drop(columns="time")
    pool, declared = opened(written(tmp_path, "fleet.txt", frame.to_string(index=False)))
    assert declared["channels"] == ["pressure", "flow"]
    assert "columns are parted by blanks" in pool.info.intake
    as_written(pool, frame.assign(time=0), ["pressure", "flow"])


@pytest.mark.parametrize("mark", ["'", " ", "\u00a0"])
def test_marks_of_thousands(mark, tmp_path):
    rpm = np.random.default_rng(1).uniform(900, 99_999, len(fleet())).round(1)
    frame = fleet().assign(rpm=rpm)
    place = csv(tmp_path, frame.assign(rpm=[f"{one:,.1f}".replace(",", mark) for one in rpm]), sep=";")
    pool, declared = opened(place)
    as_written(pool, frame, declared["channels"])
    assert declared["channels"] == ["pressure", "flow", "rpm"]


@pytest.mark.parametrize("decimal", [".", ","])
def test_words_among_numbers_are_missing(decimal, tmp_path):
    frame = fleet()
    frame["pressure"] = [f"{one}".replace(".", decimal) for one in frame.pressure]
    for at, word in enumerate(("unavailable", "Bad", "#DIV/0!", "-")):
        frame.loc[at::40, "pressure"] = word
    pool, declared = opened(csv(tmp_path, frame, sep=";", decimal=decimal))
    assert sorted(declared["absent"]) == ["Bad", "unavailable"]
    assert pool.info.missing == {"pressure": 36}
    assert pool.schema.absent == ()  # a device sees no words


def test_switches_are_channels_and_may_still_be_labels(tmp_path):
    heater = np.arange(len(fleet())) // 7 % 2
    frame = fleet().assign(
        heater=np.array(["OFF", "ON"])[heater], door=np.array(["closed", "open"])[1 - heater]
    )
    pool, declared = opened(csv(tmp_path, frame))
    assert declared["channels"] == ["pressure", "flow", "heater", "door"]
    np.testing.assert_array_equal(pool.values[:, 2:], np.stack([heater, 1 - heater], axis=1))
    assert opened(tmp_path / "fleet.csv", label="heater")[0].info.labels == ("OFF", "ON")


def test_labels_at_a_few_moments_end_the_windows(tmp_path):
    frame = fleet()
    events = frame.loc[frame.index % 20 == 13, ["device", "time", "state"]]
    frame.drop(columns="state").to_csv(tmp_path / "readings.csv", index=False)
    events.to_csv(tmp_path / "events.csv", index=False)
    pool, declared = opened(tmp_path, window=8)
    assert declared["missing"] == "hold"
    assert int(pool.cells[-1]) == len(events)
    ends = pool.times[np.asarray(pool.starts) + 7]
    assert set(ends) == {one.timestamp() for one in events.time}


def test_targets_of_a_laboratory_end_the_windows(tmp_path):
    frame = fleet().assign(quality=lambda one: one.flow.where(one.index % 20 == 13)).drop(columns="state")
    pool, _ = opened(csv(tmp_path, frame), target="quality", kind="regression", window=8)
    assert int(pool.cells[-1]) == int(frame.quality.notna().sum())


def test_a_channel_that_was_renamed_half_way_is_left_out_with_the_reason(tmp_path):
    frame = pd.concat([fleet(), fleet("2026-01-11"), fleet("2026-01-12"), fleet("2026-01-13")])
    for day, rows in frame.groupby(frame.time.dt.date):
        name = "flow" if str(day) < "2026-01-12" else "flow_lpm"
        rows.rename(columns={"flow": name}).to_csv(tmp_path / f"log_{day}.csv", index=False)
    guessed = guess(from_files(str(tmp_path)), {})
    assert guessed.declaration["channels"] == ["pressure"]
    assert "where 'flow_lpm' has one: if it is the same, call it alike" in guessed.left_out["flow"]


def test_a_counter_that_wraps_is_left_out_with_the_reason(tmp_path):
    frame = fleet().assign(pulses=lambda one: (np.arange(len(one)) % 60 * 2500) % 65536)
    assert "starts again" in guess(from_files(str(csv(tmp_path, frame))), {}).left_out["pulses"]


@pytest.mark.parametrize("most", [59, 30])
def test_what_counts_down_is_no_series_to_forecast(most, tmp_path):
    frame = fleet().drop(columns=["state", "time"]).assign(cycle=lambda one: np.arange(len(one)) % 60)
    frame["rul"] = np.minimum(most, 59 - frame.cycle)
    place = from_files(str(csv(tmp_path, frame)))
    declared = guess(place, {"target": "rul"}).declaration
    assert (declared["kind"], declared["channels"]) == ("regression", ["pressure", "flow"])
    assert guess(place, {"target": "rul", "horizon": 4}).declaration["kind"] == "forecasting"
    assert guess(place, {"target": "flow", "kind": "forecasting"}).declaration["kind"] == "forecasting"


def test_json_fields_that_come_and_go(tmp_path):
    rows = []
    for at, row in enumerate(fleet().itertuples()):
        inner = {"pressure": row.pressure, "flow": row.flow}
        inner |= {"occupancy": bool(at % 2)} if at % 29 == 0 else {}
        inner |= {"extra": [] if at % 2 else [1]}
        rows.append(
            json.dumps({"topic": f"site/{row.device}", "time": str(row.time), "m": inner, "state": row.state})
        )
    guessed = guess(from_files(str(written(tmp_path, "mqtt.jsonl", "\n".join(rows)))), {})
    assert guessed.declaration["task"] == "topic"
    assert guessed.declaration["channels"] == ["m.pressure", "m.flow"]
    assert "has no value in" in guessed.left_out["m.occupancy"]


@pytest.mark.parametrize("names", [("sensor", "value"), ("_field", "_value"), ("TagName", "Reading")])
def test_a_row_a_reading_is_gathered_by_moment(names, tmp_path):
    key, value = names
    frame = fleet()
    long = frame.melt(["device", "time", "state"], ["pressure", "flow"], var_name=key, value_name=value)
    late = pd.to_timedelta(np.where(long[key] == "flow", 7, 0), unit="s")
    place = csv(tmp_path, long.assign(time=long.time - late).sort_values("time", kind="stable"))
    pool, declared = opened(place)
    assert declared["readings"] == [key, value]
    assert declared["resample_s"] == 60.0
    assert declared["channels"] == ["flow", "pressure"]
    assert declared["label"] == "state"
    as_written(pool, frame, ["flow", "pressure"])


def test_a_cell_may_say_what_its_column_is_called(tmp_path):
    frame = fleet()
    frame.loc[::9, "state"] = "state"
    pool, _ = opened(csv(tmp_path, frame), label="state")
    as_written(pool, frame, ["pressure", "flow"])
    assert pool.info.labels == ("idle", "run", "state")


def prometheus(frame: pd.DataFrame, name: str) -> dict:
    series = [
        {
            "metric": {"__name__": name, "instance": device},
            "values": [[row.time.timestamp(), str(row[name])] for _, row in rows.iterrows()],
        }
        for device, rows in frame.groupby("device")
    ]
    return {"status": "success", "data": {"resultType": "matrix", "result": series}}


def test_answers_of_prometheus_and_its_long_exports(tmp_path):
    frame = fleet()
    pool, declared = opened(written(tmp_path, "flow.json", json.dumps(prometheus(frame, "flow"))))
    assert (declared["task"], declared["time"]) == ("instance", "timestamp")
    as_written(pool, frame.assign(value=frame.flow), ["value"])
    long = frame.melt(["device", "time"], ["pressure", "flow"], var_name="__name__")
    pool, declared = opened(csv(tmp_path, long.rename(columns={"device": "instance"})))
    assert (declared["task"], declared["readings"]) == ("instance", ["__name__", "value"])
    as_written(pool, frame, ["flow", "pressure"])


def test_readings_in_a_file_for_each_device(tmp_path):
    frame = fleet()
    for device, rows in frame.groupby("device"):
        long = rows.melt("time", ["pressure", "flow"], var_name="sensor")
        long.to_csv(tmp_path / f"{device}.csv", index=False)
    pool, declared = opened(tmp_path)
    assert (declared["task"], declared["readings"]) == ("file", ["sensor", "value"])
    as_written(pool, frame, ["flow", "pressure"])
    assert not [line for line in pool.info.intake if "of another, but other values" in line]


def home(folder: Path, frame: pd.DataFrame) -> Path:
    """The history of Home Assistant: numbers of some entities, words of others."""
    state = frame.flow.astype(str).where(frame.device != "p03", np.where(frame.index % 2, "on", "off"))
    named = {"entity_id": "sensor." + frame.device, "state": state, "last_changed": frame.time}
    return csv(folder, pd.DataFrame(named))


WRONG = {
    "entities that say different things": (
        home,
        r"column 'state' holds numbers of 'sensor.p00' and only words, such as 'off', of 'sensor.p03'",
    ),
    "readings of one device": (
        lambda folder, frame: csv(
            folder, frame[frame.device == "p00"].melt("time", ["pressure", "flow"], var_name="sensor")
        ),
        "column 'sensor' names quantities .* and no devices, so all rows are of one device",
    ),
    "JSON as text": (
        lambda folder, frame: csv(
            folder, frame[["device", "time"]].assign(payload=[json.dumps({"x": one}) for one in frame.flow])
        ),
        "'payload' holds JSON as text: write its fields as columns",
    ),
    "what Prometheus scrapes": (
        lambda folder, _: written(folder, "m.txt", "# HELP up Is it up?\n# TYPE up gauge\nup 1 139506\n"),
        "m.txt: is what Prometheus scrapes",
    ),
    "a log of messages": (
        lambda folder, _: written(folder, "a.log", "2026-01-27 10:00:00,123 INFO p00 flow=1, ok\n" * 9),
        "a.log: is a log of messages",
    ),
    "a log of Node-RED": (
        lambda folder, _: written(
            folder, "a.log", "27 Jan 10:00:00 - [info] [debug:p0] { t: 2, h: 3 }\n" * 9
        ),
        "a.log: is a log of messages",
    ),
    "a second table": (
        lines_changed(lambda rows: [*rows, "", rows[0].replace("flow", "level"), *rows[1:]]),
        "fleet.csv, row 361: time column 'time' holds 'time', no time",
    ),
    "a total at the end": (
        lines_changed(lambda rows: [*rows, "Total,,1800.3,7200.1,"]),
        r"time column 'time' has 1 row\(s\) without a time, first fleet.csv, row 361",
    ),
    "a line that is too long": (
        lines_changed(lambda rows: [*rows[:99], rows[99] + ",,", *rows[100:]]),
        r"fleet.csv, row 99: 'p01,.*' has 7 cell\(s\), not 5",
    ),
    "gzip that is called CSV": (bytes_of(lambda text: b"\x1f\x8b" + text.encode()), "call it .csv.gz"),
    "merged cells": (
        lambda folder, frame: csv(
            folder, frame.assign(device=frame.device.where(~frame.device.duplicated()))
        ),
        "column 'device' is empty in 98 % of the rows",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_says_what_is_wrong_and_what_to_do(name, tmp_path):
    write, message = WRONG[name]
    with pytest.raises(DataError, match=message):
        opened(write(tmp_path, fleet()))


def test_names_stay_names(tmp_path):
    """Nothing that looks like a number with a unit becomes one where it names something."""
    number = fleet().device.str[2:].astype(int).add(1)
    for write in ("{}A", "{} %", "12{} 455"):
        frame = fleet().assign(device=number.map(write.format))
        pool, declared = opened(csv(tmp_path, frame))
        assert declared["task"] == "device"
        assert pool.task_ids == tuple(write.format(one) for one in range(1, 7))
