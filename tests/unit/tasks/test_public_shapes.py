"""Tables and folders in the shapes of well-known data sets: what a careful person would choose is guessed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acclimate.errors import DataError
from acclimate.tasks import from_files, from_frame
from acclimate.tasks.guessing.guess import guess
from tests.support.fleets import as_written, csv, edited, fleet, opened


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).round(4)


def placed(folder: Path, frame: pd.DataFrame, name) -> Path:
    """A file for each device and state, called by a function of both."""
    for (device, state), rows in frame.groupby(["device", "state"]):
        place = folder / name(device, state)
        place.parent.mkdir(parents=True, exist_ok=True)
        rows.drop(columns=["device", "state"]).to_csv(place, index=False)
    return folder


def test_files_called_by_classes_in_folders_of_devices(tmp_path):
    _, declared = opened(placed(tmp_path, fleet(), lambda device, state: f"{device}/{state}.csv"))
    assert (declared["task"], declared["label"]) == ("folder", "filename")


def test_files_called_by_devices_in_folders_of_classes(tmp_path):
    pool, declared = opened(placed(tmp_path, fleet(), lambda device, state: f"{state}/{device}.csv"))
    assert (declared["task"], declared["label"]) == ("filename", "folder")
    assert pool.info.labels == ("idle", "run")
    as_written(pool, fleet(), ["pressure", "flow"])


def test_files_called_by_days_in_folders_of_devices(tmp_path):
    frame = pd.concat([fleet().assign(state="2026-01-10"), fleet("2026-01-11").assign(state="2026-01-11")])
    pool, declared = opened(placed(tmp_path, frame, lambda device, day: f"{device}/log_{day}.csv"))
    assert declared["task"] == "folder"
    as_written(pool, frame, declared["channels"])


def test_folders_of_parts_are_no_classes_and_no_devices(tmp_path):
    _, declared = opened(
        placed(
            tmp_path,
            fleet(),
            lambda device, state: f"{['train', 'test'][device > 'p03']}/{device}_{state}.csv",
        )
    )
    assert declared["task"] == "file"
    assert "label" not in declared


def test_a_signal_called_time_is_no_clock():
    frame = pd.DataFrame(
        {"machine": np.repeat(["m1", "m2", "m3"], 400), "DE_time": noise(1200), "FE_time": noise(1200)}
    )
    declared = guess(from_frame(frame), {}).declaration
    assert "time" not in declared
    assert declared["channels"] == ["DE_time", "FE_time"]


@pytest.mark.parametrize(
    "name",
    ["decanter-{:02d}", "set 20{:02d}", "Gen-{:02d}", "WTG-2021-{:02d}", "2021-{:02d}", "Set 16 {:02d}"],
)
def test_names_that_begin_like_months_name_devices_and_programs(name):
    names = fleet().device.str[1:].astype(int).map(lambda one: name.format(one + 1))
    frame = fleet().assign(asset=names)
    declared = guess(from_frame(frame.drop(columns=["device", "time"])), {}).declaration
    assert declared["task"] == "asset"
    assert declared.get("time") != "asset"
    program = frame.assign(
        program=frame.state.map({one: name.format(at + 1) for at, one in enumerate(frame.state.unique())})
    )
    guessed = guess(from_frame(program.drop(columns=["state", "asset"])), {"label": "program"})
    assert (guessed.declaration["time"], guessed.declaration["label"]) == ("time", "program")


def test_whole_numbers_of_any_size_are_no_moments():
    frame = fleet().assign(
        memory=lambda one: 2_000_000_000 + (1e6 * noise(len(one))).astype(int), capacity=4_000_787_030_016
    )
    guessed = guess(from_frame(frame), {})
    assert guessed.declaration["channels"] == ["pressure", "flow", "memory"]
    assert guessed.left_out["capacity"] == "never changes"
    clock = frame.assign(tick_of=lambda one: one.time.map(pd.Timestamp.timestamp).astype(int)).drop(
        columns="time"
    )
    assert guess(from_frame(clock.rename(columns={"tick_of": "unix"})), {}).declaration["time"] == "unix"


@pytest.mark.parametrize("name", ["when", "sent_at", "unix"])
@pytest.mark.parametrize("order", ["newest first", "shuffled"])
def test_whole_epochs_may_come_in_any_order(name, order):
    frame = fleet().assign(**{name: lambda one: one.time.map(pd.Timestamp.timestamp).astype(int)})
    frame = frame.drop(columns="time")
    frame = frame.iloc[::-1] if order == "newest first" else frame.sample(frac=1, random_state=1)
    assert guess(from_frame(frame.reset_index(drop=True)), {}).declaration["time"] == name


@pytest.mark.parametrize("name", ["when", "sent_at", "receivedAt"])
def test_whole_epochs_of_uneven_steps_may_come_shuffled_where_a_name_says_so(name):
    uneven = 1_767_600_000 + np.sort(np.random.default_rng(3).choice(40_000, 360, replace=False))
    frame = fleet().assign(**{name: uneven}).drop(columns="time").sample(frac=1, random_state=1)
    assert guess(from_frame(frame.reset_index(drop=True)), {}).declaration["time"] == name


@pytest.mark.parametrize("name", ["time", "seconds"])
def test_fractional_seconds_may_come_newest_first(name):
    uneven = np.cumsum(np.random.default_rng(2).exponential(size=360)).round(3)
    frame = fleet().assign(**{name: uneven}).drop(columns=[one for one in ["time"] if one != name])
    declared = guess(from_frame(frame.iloc[::-1].reset_index(drop=True)), {}).declaration
    assert declared["time"] == name


def test_seconds_of_which_nothing_shows_that_they_are_a_clock_are_said_to_order_no_rows():
    frame = fleet().drop(columns="time").assign(seconds=np.random.default_rng(2).exponential(size=360))
    guessed = guess(from_frame(frame), {})
    assert "time" not in guessed.declaration
    assert "say --time 'seconds'" in guessed.left_out["time"]


def test_a_number_of_a_cycle_with_letters_is_no_moment():
    frame = fleet().assign(cycle_id=[f"CYC{1_000_000 + at}" for at in range(360)]).drop(columns="time")
    declared = guess(from_frame(frame), {}).declaration
    assert "time" not in declared


def test_a_folder_called_by_a_year_is_said_to_hold_text():
    told = guess(from_frame(fleet().assign(folder="2024", place="x")), {}).left_out["folder"]
    assert "float64" not in told


def test_a_header_of_numbers_and_words(tmp_path):
    columns = {str(at): noise(360) for at in range(4)}
    frame = pd.DataFrame(
        {"Time": fleet().time, **columns, "device": fleet().device, "Pass/Fail": noise(360) > 0}
    )
    frame["Pass/Fail"] = frame["Pass/Fail"].astype(int)
    _, declared = opened(csv(tmp_path, frame), label="Pass/Fail")
    assert (declared["time"], declared["channels"]) == ("Time", ["0", "1", "2", "3"])


def test_rows_of_delimiters_alone_are_counted_and_left_out(tmp_path):
    frame = fleet()
    pool, _ = opened(edited(tmp_path, frame, lambda rows: [*rows[:90], ",,,,", *rows[90:], ",,,,", ",,,,"]))
    as_written(pool, frame, ["pressure", "flow"])
    assert "lines that hold nothing or repeat the header left out: 3" in pool.info.intake


def test_a_time_of_day_with_points_and_an_hour_called_hr(tmp_path):
    frame = fleet("2026-01-27", "1h")
    day = frame.assign(Date=frame.time.dt.strftime("%d/%m/%Y"), Time=frame.time.dt.strftime("%H.%M.%S"))
    pool, declared = opened(csv(tmp_path, day.drop(columns="time"), sep=";", decimal=","))
    assert declared["time"] == "Date + Time"
    as_written(pool, frame, ["pressure", "flow"])
    hours = frame.assign(dteday=frame.time.dt.strftime("%Y-%m-%d"), hr=frame.time.dt.hour).drop(
        columns="time"
    )
    pool, declared = opened(csv(tmp_path, hours))
    assert declared["time"] == "dteday + hr"
    as_written(pool, frame, ["pressure", "flow"])


def test_bytes_name_devices_as_text_or_in_hexadecimal(tmp_path):
    frame = fleet()
    number = frame.device.str[1:].astype(int)
    for kind, names in (
        (pa.binary(), frame.device.str.encode("utf-8")),
        (pa.binary(4), number.map(lambda n: n.to_bytes(4, "big"))),
    ):
        table = pa.Table.from_pandas(frame, preserve_index=False).set_column(
            0, "device", pa.array(names.tolist(), kind)
        )
        pq.write_table(table, tmp_path / "fleet.parquet")
        pool, _ = opened(tmp_path / "fleet.parquet")
        as_written(pool, frame, ["pressure", "flow"])
        assert pool.task_ids[1] == ("p01" if kind == pa.binary() else "00000001")


def test_wekas_format(tmp_path):
    frame = fleet().drop(columns="time")
    head = "% made by x\n@RELATION pumps\n@ATTRIBUTE device STRING\n@attribute 'pressure' NUMERIC\n"
    head += "@ATTRIBUTE flow REAL\n@ATTRIBUTE state {idle,run}\n\n@DATA\n"
    (tmp_path / "fleet.arff").write_text(head + frame.to_csv(index=False, header=False))
    pool, declared = opened(tmp_path / "fleet.arff")
    assert (declared["task"], declared["label"]) == ("device", "state")
    as_written(pool, frame.assign(time=0), ["pressure", "flow"])


def test_wekas_quotes_and_comments(tmp_path):
    head = "@relation x\n@attribute device {'h 1','h, 2'}\n@attribute x numeric\n@data\n"
    (tmp_path / "a.arff").write_text(head + "'h 1',1\n% note\n%a,b\n'h, 2',?\n'h 1',3\n")
    source = from_files(str(tmp_path / "a.arff"))
    (batch,) = source.batches(["device", "x"])
    assert batch.column("device").to_pylist() == ["h 1", "h, 2", "h 1"]
    assert batch.column("x").to_pylist() == [1, None, 3]
    (part,) = source.parts
    assert "read as ARFF of Weka: its lines @attribute name the columns" in part.notes
    (tmp_path / "a.arff").write_text("@relation x\n@data\n1,2\n")
    with pytest.raises(DataError, match=r"a\.arff: is ARFF without a line @attribute for each column"):
        list(from_files(str(tmp_path / "a.arff")).batches([]))


@pytest.mark.parametrize(("column", "kind"), [("SOH", "regression"), ("Occupancy", "classification")])
def test_answers_known_by_name(column, kind):
    random = np.random.default_rng(3)
    answer = random.normal(size=360) if column == "SOH" else random.integers(0, 2, 360)
    frame = fleet().drop(columns="state").assign(**{column: answer})
    assert guess(from_frame(frame), {}).declaration["kind"] == kind


PARTS: dict[str, str | bytes] = {
    "X.txt": "\n".join(" ".join(map(str, row)) for row in noise(30, 5)),
    "y.txt": "\n".join("123"[at % 3] for at in range(30)),
}
WRONG: dict[str, tuple[dict[str, str | bytes], str]] = {
    "files of other columns without a header": (PARTS, r"X.txt have no header, and 1 and 5 columns"),
    "sound": ({"a.dat": b"RIFF\x24\x00\x00\x00WAVEfmt "}, "a.dat: is sound or video"),
    "a MAT-file": ({"a.txt": b"MATLAB 5.0 MAT-file, Platform: GLNX" + b"\0" * 90}, "a.txt: is a MAT-file"),
    "bytes": ({"a.csv": bytes(range(1, 255)) * 9}, "holds binary data, not text"),
    "sparse ARFF": (
        {"a.arff": "@relation a\n@attribute x numeric\n@data\n{0 1}\n"},
        "ARFF without plain rows",
    ),
    "names that have their end in common": (
        {
            "a.csv": "when,DE_load,FR_load,NL_load\n"
            + "\n".join(f"2026-01-{at:02d},{at},{at * at % 7},3.5" for at in range(1, 29))
        },
        r"say --wide '\*_load'",
    ),
    "no header and no device": (
        {"a.csv": "1.5,2.5,0.3\n" * 9},
        "there is no header, and no column looks like a device",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_says_what_is_wrong_and_what_to_do(name, tmp_path):
    files, message = WRONG[name]
    for called, content in files.items():
        (tmp_path / called).write_bytes(content if isinstance(content, bytes) else content.encode())
    place = tmp_path if len(files) > 1 else tmp_path / called
    with pytest.raises(DataError, match=message):
        guess(from_files(str(place)), {})
