"""What looks like something else: tables that begin like other formats, devices called like quantities."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, build_in_memory, from_files, from_frame
from acclimate.tasks.guessing.guess import guess
from acclimate.tasks.sources.dialect import detect
from tests.support.fleets import as_written, csv, fleet, opened

WIDE = b" ".join([b"0.1234567"] * 2000) + b"\n"


@pytest.mark.parametrize(
    "text",
    [
        b"\n" * 30_000 + b"a,b\n1,2\n",
        b"% x\n \n" * 9_000 + b"a,b\n1,2\n",
        WIDE * 3,
        b"m " + b",".join(b'a%d="1"' % at for at in range(40)) + b" and more\n1\n",
    ],
    ids=["blank lines", "comments", "long lines", "quoted fields"],
)
def test_what_a_text_is_is_told_in_time_linear_in_its_length(text):
    began = time.process_time()
    detect("a.csv", text, whole=True)
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize("first", ["PAR1", "CDF", "RIFF", "BZh"])
def test_a_header_may_begin_as_a_binary_file_does(first):
    assert detect("a.csv", f"{first},x,Größe\n1,2,3\n2,3,4\n".encode(), whole=True).names[0] == first
    with pytest.raises(DataError, match=r"a.csv: is "):
        detect("a.csv", f"{first}\1\0\0\0\x15\4".encode(), whole=True)


def test_a_row_with_a_word_is_no_header_of_numbers():
    rows = "".join(f"{row},{row / 3:.2f},{17 + row}\n" for row in range(1, 20))
    assert not detect("a.csv", f"0,ERR,17\n{rows}".encode(), whole=True).has_header
    named = detect("a.csv", f"1,time,2\n{rows}".encode(), whole=True)
    assert named.names == ("1", "time", "2")
    assert "the first line of the table names its columns, some by numbers: 1, 2" in [*named.notes()]


def rows_of(folder: Path, document: dict) -> list[dict]:
    (folder / "a.json").write_text(json.dumps(document))
    source = from_files(str(folder / "a.json"))
    return [
        {name: batch.column(name)[at].as_py() for name in source.columns}
        for batch in source.batches(source.columns)
        for at in range(len(batch.column(source.columns[0])))
    ]


def test_series_without_points_and_objects_that_are_no_series(tmp_path):
    series = [
        {"metric": {"instance": "a"}, "values": []},
        {"metric": {"instance": "b"}, "values": [[1, "2.5"], [2, "3.5"]]},
    ]
    found = rows_of(tmp_path, {"data": {"resultType": "matrix", "result": series}})
    assert [(row["instance"], row["value"]) for row in found] == [("b", 2.5), ("b", 3.5)]
    found = rows_of(tmp_path, {"rows": [{"metric": {"k": k}, "value": 5 + k} for k in range(2)]})
    assert [(row["metric.k"], row["value"]) for row in found] == [(0, 5), (1, 6)]


def test_a_label_may_tell_of_quantities():
    frame = fleet().rename(columns={"flow": "value"}).drop(columns="pressure")
    frame["fault"] = frame.pop("state").map({"idle": "pressure low", "run": "flow low"})
    declared = guess(from_frame(frame), {}).declaration
    assert (declared["label"], "readings" in declared) == ("fault", False)


@pytest.mark.parametrize("column", ["machine", "meter"])
def test_devices_may_be_called_by_quantities(column):
    names = ["flow pump", "light mast", "power unit", "level gauge", "torque wrench", "speed bump"]
    device = fleet().device.map(dict(zip(sorted(set(fleet().device)), names, strict=True)))
    frame = fleet().assign(**{column: device}).drop(columns="device")
    assert guess(from_frame(frame), {}).declaration["task"] == column


@pytest.mark.parametrize(
    "state",
    [
        lambda frame: frame.flow.astype(str).where(frame.device != "p03", "unavailable"),
        lambda frame: frame.flow.astype(str).where(frame.device != "p03", None).where(frame.index != 4, "X"),
    ],
    ids=["unavailable", "empty"],
)
def test_a_device_may_have_measured_nothing(tmp_path, state):
    frame = fleet().drop(columns=["pressure", "state"])
    declared = guess(from_files(str(csv(tmp_path, frame.assign(flow=state(frame))))), {}).declaration
    assert (declared["task"], declared["channels"]) == ("device", ["flow"])


@pytest.mark.parametrize(
    "names",
    [("accelerometer", "gyroscope"), ("port", "starboard"), ("temp", "wind")],
    ids="-".join,
)
def test_files_called_by_what_they_record_are_no_classes(tmp_path, names):
    for device, rows in fleet().groupby("device"):
        (tmp_path / device).mkdir()
        for name in names:
            rows[["time", "pressure", "flow"]].to_csv(tmp_path / device / f"{name}.csv", index=False)
    assert "label" not in guess(from_files(str(tmp_path)), {}).declaration


def test_readings_of_one_channel_and_moment_that_differ_are_counted(tmp_path):
    frame = fleet()
    long = frame.melt(["device", "time"], ["pressure", "flow"], var_name="sensor")
    told = "rows with the recording and time of another, but other values, kept"
    pool, _ = opened(csv(tmp_path, long))
    as_written(pool, frame, ["flow", "pressure"])
    assert not [line for line in pool.info.intake if told in line]
    again = long[(long.sensor == "flow") & (long.time == np.datetime64("2026-01-10T00:05"))]
    pool, _ = opened(csv(tmp_path, pd.concat([long, again.assign(value=99.0)])))
    assert [line for line in pool.info.intake if told in line] == [f"{told}: {len(again)} row(s)"]


def test_a_file_of_each_folder_stays_a_task_of_its_own(tmp_path):
    for (device, state), rows in fleet().groupby(["device", "state"]):
        (tmp_path / state).mkdir(exist_ok=True)
        rows.drop(columns=["device", "state"]).to_csv(tmp_path / state / f"{device}.csv", index=False)
    _, declared = opened(tmp_path)
    assert (declared["task"], declared["label"]) == ("filename", "folder")
    source = from_files(str(tmp_path))
    schema = RecordingSchema.from_dict({**declared, "task": "file"})
    assert len(build_in_memory(source, schema).task_ids) == 12
    declared = guess(source, {"task": "file"}).declaration
    assert declared["task"] == "file"
    assert "filename" not in declared.values()


def numbered(folder, task: str, files: dict[str, int], dated: bool = False):
    """Files that number so many devices each from 1, whose clocks begin alike."""
    random = np.random.default_rng(0)
    for name, count in files.items():
        rows = pd.DataFrame(
            [(one, at) for one in range(1, count + 1) for at in range(40)], columns=[task, "t"]
        )
        if dated:
            rows["t"] = pd.Timestamp("2026-01-10") + rows.t * pd.Timedelta("1min")
        rows[["x", "z"]] = random.normal(size=(len(rows), 2)).round(3)
        rows.to_csv(folder / f"{name}.csv", index=False)
    return guess(from_files(str(folder)), {})


def test_devices_that_each_file_numbers_anew_are_several_and_held_out_together(tmp_path):
    guessed = numbered(tmp_path, "unit", {"train_FD001": 5, "train_FD002": 7})
    assert (guessed.declaration["task"], guessed.declaration["group"]) == ("unit + file", "unit")


@pytest.mark.parametrize(("task", "last"), [("subject", 7), ("unit", 5)])
def test_people_in_several_files_and_as_many_devices_in_each_stay_one_and_that_is_said(task, last, tmp_path):
    guessed = numbered(tmp_path, task, {"walk1": 5, "walk2": last})
    assert (guessed.declaration["task"], guessed.declaration["recording"]) == (task, "file")
    assert f"if those are others, --task '{task} + file'" in guessed.reasons["task"]


@pytest.mark.parametrize(
    ("names", "task"), [(("siteA", "siteB"), "unit + file"), (("acceleration", "temperature"), "unit")]
)
def test_devices_of_one_number_that_files_measured_at_once_are_several(names, task, tmp_path):
    assert numbered(tmp_path, "unit", dict.fromkeys(names, 5), dated=True).declaration["task"] == task
