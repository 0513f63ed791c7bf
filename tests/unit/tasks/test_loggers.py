"""Files as loggers and historians write them: their numbers arrive, and no counts of rows or ratings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acclimate.errors import DataError
from acclimate.tasks import from_files
from acclimate.tasks.guessing.guess import guess
from tests.support.fleets import as_written, csv, fleet, opened
from tests.support.written import text

CHANNELS = ["pressure", "flow"]


def each(write):
    """A file for each device, as `write` has its rows."""

    def of(folder: Path, frame: pd.DataFrame) -> Path:
        for device, rows in frame.groupby("device"):
            text(folder, f"{device}.txt", write(device, rows.reset_index(drop=True)))
        return folder

    return of


def joined(rows: pd.DataFrame, form: str) -> str:
    return "\n".join(form.format(**row._asdict()) for row in rows.itertuples())


def campbell(device: str, rows: pd.DataFrame) -> str:
    head = f'"TOA5","{device}","CR1000","17","CR1000.Std.31","CPU:main.CR1","54","Table1"\n'
    head += '"TIMESTAMP","RECORD","pressure","flow"\n"TS","RN","bar","l/min"\n"","","Avg","Avg"\n'
    return head + "\n".join(
        f'"{row.time}",{row.Index},{row.pressure},{row.flow}' for row in rows.itertuples()
    )


def netatmo(device: str, rows: pd.DataFrame) -> str:
    head = (
        f'Name;Long;Lat;ModuleName;ModuleType\n"Home";8.0;50.0;"{device}";"Indoor"\nTimestamp;pressure;flow\n'
    )
    return head + "\n".join(
        f"{row.time.timestamp():.0f};{row.pressure};{row.flow}" for row in rows.itertuples()
    )


def labview(device: str, rows: pd.DataFrame) -> str:
    head = "LabVIEW Measurement\t\nSeparator\tTab\nDecimal_Separator\t,\n***End_of_Header***\t\n\t\n"
    head += (
        "Channels\t2\t\t\nSamples\t60\t60\t\nX0\t0,0\t0,0\t\nDelta_X\t1,0\t1,0\t\n***End_of_Header***\t\t\t\n"
    )
    lines = (f"{row.time}\t{row.pressure}\t{row.flow}\t".replace(".", ",") for row in rows.itertuples())
    return head + "time\tpressure\tflow\tComment\n" + "\n".join(lines)


def hobo(device: str, rows: pd.DataFrame) -> str:
    head = f'"Plot Title: {device}"\n"#","time","pressure","flow","Host Connected","End Of File"\n'
    return head + joined(rows, "{Index},{time},{pressure},{flow},,")


def with_id(device: str, rows: pd.DataFrame) -> str:
    return "id;Date;pressure;flow\n" + joined(rows, "{Index};{time};{pressure};{flow}")


LOGGERS = {
    "Campbell": each(campbell),
    "Netatmo": each(netatmo),
    "LabVIEW": each(labview),
    "HOBO": each(hobo),
    "Testo": each(with_id),
}


@pytest.mark.parametrize("name", list(LOGGERS))
def test_a_file_of_a_logger_for_each_device(name, tmp_path):
    frame = fleet()
    pool, declared = opened(LOGGERS[name](tmp_path, frame))
    assert (declared["task"], declared["channels"]) == ("file", CHANNELS)
    as_written(pool, frame, CHANNELS)


def test_labview_files_are_read_by_their_ending(tmp_path):
    for place in [*each(labview)(tmp_path, fleet()).iterdir()]:
        place.rename(place.with_suffix(".lvm"))
    assert opened(tmp_path)[1]["channels"] == CHANNELS


def test_a_number_of_each_message_is_no_channel(tmp_path):
    frame = fleet().assign(f_cnt=lambda one: 500 + one.groupby("device").cumcount()).drop(columns="state")
    guessed = guess(from_files(str(csv(tmp_path, frame.sort_values("time", kind="stable")))), {})
    assert guessed.declaration["channels"] == CHANNELS
    assert guessed.left_out["f_cnt"] == "counts the rows of each task"


def test_a_snapshot_of_all_devices_in_each_file_keeps_their_numbers(tmp_path):
    frame = fleet().assign(unit=lambda one: one.device.str[1:].astype(int) + 1)
    for at, rows in frame.groupby("time"):
        rows.drop(columns="device").to_csv(tmp_path / f"{at:%H%M}.csv", index=False)
    assert guess(from_files(str(tmp_path)), {}).declaration["task"] == "unit"


@pytest.mark.parametrize(
    ("column", "values"),
    [("flow_status", ["Good", "Bad"]), ("Quality", ["Good", "Uncertain"]), ("Flow Quality", [192, 0])],
)
def test_what_says_how_sure_a_value_is_is_no_label_and_no_channel(column, values, tmp_path):
    frame = fleet().drop(columns="state")
    frame[column] = np.array(values)[(np.random.default_rng(0).random(len(frame)) < 0.1).astype(int)]
    guessed = guess(from_files(str(csv(tmp_path, frame))), {})
    assert (guessed.declaration["kind"], guessed.declaration["channels"]) == ("forecasting", CHANNELS)
    assert "how sure" in guessed.left_out[column]


def test_a_grade_of_quality_and_a_status_of_a_device_stay_labels(tmp_path):
    grades = {"quality": ["A", "B"], "status": ["good", "worn"], "device_status": ["good", "worn"]}
    for column, values in grades.items():
        frame = fleet().rename(columns={"state": column})
        frame[column] = np.array(values)[(frame[column] == "run").astype(int)]
        assert guess(from_files(str(csv(tmp_path, frame))), {}).declaration["label"] == column


@pytest.mark.parametrize("families", [{"PV": 8}, {"WP": 8, "PV": 6, "BM": 4}, {"MT_00": 6}])
def test_families_of_names_are_devices(families, tmp_path):
    random = np.random.default_rng(0)
    names = [f"{stem}{one + 1}" for stem, count in families.items() for one in range(count)]
    frame = pd.DataFrame(random.random((300, len(names))).round(4), columns=names)
    frame.insert(0, "time", pd.date_range("2016-01-01", periods=300, freq="15min"))
    pool, declared = opened(csv(tmp_path, frame))
    assert sorted(pool.task_ids) == sorted(names)
    assert declared["channels"] == ["value"]
    first = pool.task_ids.index(names[0])
    rows = slice(pool.rows[first], pool.rows[first + 1])
    np.testing.assert_array_equal(pool.values[rows, 0], frame[names[0]].astype(np.float32))


def test_families_that_may_be_channels_are_asked_for_together(tmp_path):
    random = np.random.default_rng(0)
    names = [f"{stem}{one + 1}" for stem in ("ai", "di") for one in range(5)]
    frame = pd.DataFrame(random.random((300, 10)), columns=names)
    frame.insert(0, "time", pd.date_range("2016-01-01", periods=300, freq="15min"))
    with pytest.raises(DataError, match=r"say --wide 'ai\*\|di\*'"):
        guess(from_files(str(csv(tmp_path, frame))), {})


@pytest.mark.parametrize("names", ["device,time,0.5,0.95", "device,time,x,25.0", "device,time,-1,1"])
def test_names_that_are_numbers_beside_words_above_moments(names, tmp_path):
    frame = fleet().drop(columns="state")
    frame.columns = names.split(",")
    pool, declared = opened(csv(tmp_path, frame))
    assert declared["channels"] == names.split(",")[2:]
    as_written(pool, frame.set_axis(fleet().columns[:4], axis=1), CHANNELS)


def test_a_first_row_with_a_word_for_nothing_is_a_row(tmp_path):
    rows = fleet().to_csv(index=False, header=False).splitlines()
    rows[0] = "p00,2026-01-10 00:00:00,ERR,20.1,idle"
    assert from_files(str(text(tmp_path, "a.csv", "\n".join(rows)))).rows == len(rows)


def test_sentences_of_nmea_are_told(tmp_path):
    place = text(
        tmp_path, "a.log", "$GPGGA,120000.00,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\n" * 9
    )
    with pytest.raises(DataError, match="is sentences of NMEA: write the positions as CSV"):
        opened(place)


def test_messages_with_json_behind_them_are_told(tmp_path):
    line = '12:00:00 MQT: tele/plug/SENSOR = {"Time":"2026-01-01T12:00:00","ENERGY":{"Power":3}}\n'
    with pytest.raises(DataError, match=r"a\.log: is a log of messages: write .* as JSON lines"):
        opened(text(tmp_path, "a.log", line * 9))


@pytest.mark.parametrize("form", ["{:02d}:00:00", "{} days 00:00:00", "PT{}M"])
def test_a_time_without_a_day_says_what_to_write(form, tmp_path):
    frame = fleet().assign(time=[form.format(at % 24) for at in range(len(fleet()))])
    with pytest.raises(DataError, match=r"no time: add the day, or write how long it is .* seconds"):
        opened(csv(tmp_path, frame), time="time")


@pytest.mark.parametrize(("time", "kind"), [(False, "classification"), (True, "forecasting")])
def test_codes_without_a_clock_are_classes(time, kind, tmp_path):
    random = np.random.default_rng(0)
    frame = fleet().drop(columns="state" if time else ["state", "time"])
    frame.insert(1, "gas", random.integers(1, 7, len(frame)))
    assert guess(from_files(str(csv(tmp_path, frame))), {}).declaration["kind"] == kind
