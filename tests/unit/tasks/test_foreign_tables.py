"""Tables as they lie in other people's packages: which column is what, and how their files write it."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.errors import DataError
from acclimate.tasks import RecordingSchema, build_in_memory, from_files, from_frame
from acclimate.tasks.guessing.guess import guess
from tests.support.fleets import as_written, fleet, opened


def panel(devices: int = 20, years: int = 12) -> pd.DataFrame:
    """A row a device and year, as economists and clinics keep them."""
    random = np.random.default_rng(1)
    rows = devices * years
    return pd.DataFrame(
        {
            "region": np.repeat([f"r{one:02d}" for one in range(devices)], years),
            "year": np.tile(np.arange(1990, 1990 + years), devices),
            "income": random.normal(10, 1, rows).round(2),
            "hours": random.integers(0, 3000, rows),
        }
    )


def counts_of(frame: pd.DataFrame):
    return np.random.default_rng(2).poisson(9, len(frame))


def guessed(frame: pd.DataFrame, **given):
    return guess(from_frame(frame), given)


def test_what_never_changes_in_a_device_is_no_label():
    frame = panel().assign(continent=np.repeat(["north", "south"], 120), name=lambda one: "of " + one.region)
    found = guessed(frame)
    assert (found.declaration["kind"], found.declaration["task"]) == ("forecasting", "region")
    assert found.left_out["continent"] == "never changes in any task: it tells what the device is"
    assert guessed(frame, label="continent").declaration["label"] == "continent"  # a person may insist


def test_a_mark_on_a_year_is_no_answer_and_a_count_no_class():
    frame = panel().assign(y95=lambda one: (one.year == 1995).astype(int))
    assert guessed(frame).declaration["kind"] == "forecasting"
    counts = guessed(frame.assign(y=counts_of(frame)))
    assert (counts.declaration["kind"], counts.declaration["targets"]) == ("regression", ["y"])
    numbered = panel().drop(columns="year").assign(row=np.arange(len(frame)), y=counts_of(frame))
    assert guessed(numbered).declaration["targets"] == ["y"]
    codes = guessed(frame.assign(y=np.random.default_rng(2).integers(0, 3, len(frame))))
    assert codes.declaration["label"] == "y"


def test_what_counts_up_in_every_device_orders_its_rows():
    frame = panel().rename(columns={"year": "yr"})
    assert guessed(frame).declaration["time"] == "yr"
    shuffled = frame.sort_values(["yr", "region"], ignore_index=True)
    assert guessed(shuffled).declaration["time"] == "yr"


def test_a_weekday_is_no_device_and_a_state_may_be_one():
    days = pd.date_range("2024-01-01", periods=60).repeat(20)
    frame = pd.DataFrame({"state": np.tile(panel().region.unique(), 60), "day": days, "births": 5})
    frame = frame.assign(births=counts_of(frame), wday=lambda one: one.day.dt.day_name().str[:3])
    found = guessed(pd.concat([frame[["wday", "state", "day", "births"]], frame[:4]])).declaration
    assert (found["task"], found["time"], "recording" in found) == ("state", "day", False)


def test_kinds_of_treatment_are_no_fleet_beside_those_that_were_treated():
    frame = panel().drop(columns="region").assign(pig=lambda one: np.arange(len(one)) // 12 * 3 + 4601)
    frame.insert(0, "fodder", np.repeat(["none", "some", "much"], 84)[: len(frame)])
    found = guessed(frame.rename(columns={"year": "step"}))
    assert found.declaration["task"] == "pig"
    assert found.reasons["task"].endswith("'fodder' has 3 values only; else --task fodder")
    assert "recording" not in found.declaration
    assert found.declaration["group"] == "fodder"
    labelled = frame.rename(columns={"year": "step"}).assign(fault=frame.pig.mod(2).map({0: "a", 1: "b"}))
    assert guessed(labelled).declaration["task"] == "fodder"  # of each several runs, a fault each


@pytest.mark.parametrize("name", ["lap", "trip", "flight", "ride", "charge"])
def test_what_somebody_did_again_and_again_is_no_device(name):
    did = np.repeat(np.arange(36), 12)
    frame = panel(36).drop(columns="region").assign(**{name: did}).rename(columns={"year": "cycle"})
    frame.insert(0, "athlete", np.array(["ann", "bob", "cid"])[did // 12])
    found = guessed(frame).declaration
    assert (found["task"], found["recording"]) == ("athlete", name)


def test_a_text_that_changes_in_hardly_a_device_is_no_label():
    smokes = np.repeat(["no", "yes"], 120)
    smokes[3] = "yes"
    found = guessed(panel().assign(smokes=smokes))
    assert found.declaration["kind"] == "forecasting"
    assert (
        found.left_out.get("smokes", "")
        == "changes in no more than 10% of the tasks, which differ in it: it tells what the device is"
    )
    assert guessed(panel().assign(fault=smokes)).declaration["label"] == "fault"  # its name says so


def test_what_happens_to_hardly_a_device_is_a_label_where_the_others_are_alike():
    alarm = np.repeat(["ok"], 240).astype(object)
    alarm[5:9], alarm[9:12] = "hot", "dead"
    frame = panel().rename(columns={"region": "device"})
    for name in ("alarm", "diagnosis", "phase"):
        assert guessed(frame.assign(**{name: alarm})).declaration["label"] == name


def test_a_kind_that_a_person_asks_for_is_kept():
    trait = np.repeat(["a", "b", "c", "b"], 60)
    trait[3] = "b"
    frame = panel().rename(columns={"region": "device"})
    found = guessed(frame.assign(phase=trait), kind="classification").declaration
    assert (found["kind"], found["label"]) == ("classification", "phase")
    stays = frame.assign(target=np.repeat(np.arange(20) * 1.5, 12))
    found = guessed(stays, kind="regression").declaration
    assert (found["kind"], found["targets"]) == ("regression", ["target"])
    found = guessed(stays.assign(y=counts_of(frame)), kind="regression").declaration
    assert found["targets"] == ["y"]  # what changes goes before what stays


def test_what_stays_in_a_device_is_no_number_to_predict():
    frame = panel().assign(y=np.repeat(np.random.default_rng(3).integers(-40, 40, 20), 12))
    found = guessed(frame).declaration
    assert found["kind"] == "forecasting"
    assert "y" not in found["channels"]


def test_hours_of_days_without_a_year_order_nothing():
    frame = fleet(step="1h").drop(columns="state")
    parts = {"MM": frame.time.dt.month, "DD": frame.time.dt.day, "HH": frame.time.dt.hour + 1}
    found = guessed(frame.drop(columns="time").assign(**parts))
    assert not {"time", "recording"} & set(found.declaration)
    assert "no column holds the year: rows keep their order" in found.left_out["time"]


def test_an_hour_that_comes_twice_in_utc_costs_no_channel():
    frame = fleet("2026-10-25", step="10min")
    again = frame[frame.time.dt.hour == 2]
    frame = pd.concat([frame, again]).sort_values(["time", "device"]).drop(columns="state")
    frame.loc[frame.index % 97 == 5, ["pressure", "flow"]] = np.nan
    written = frame.assign(time=frame.time.dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"))
    found = guessed(written, target="flow", kind="forecasting")
    assert found.declaration["channels"] == ["pressure", "flow"]
    assert " 0 % of the windows" not in found.reasons["missing"]


def test_a_number_names_devices_where_it_tells_the_rows_of_a_year_apart():
    frame = panel().assign(nr=lambda one: one.region.str[1:].astype(int) * 7 + 13).drop(columns="region")
    found = guessed(frame).declaration
    assert (found["task"], found["time"]) == ("nr", "year")


def test_an_hour_that_comes_again_every_day_orders_nothing(tmp_path):
    frame = fleet().assign(hour=lambda one: one.time.dt.minute % 24 + 1).drop(columns=["time", "state"])
    frame.to_csv(tmp_path / "fleet.csv", index=False)
    pool, declared = opened(tmp_path / "fleet.csv")
    assert "time" not in declared
    as_written(pool, fleet(), [one for one in declared["channels"] if one != "hour"])
    assert "orders" not in str(guess(from_files(str(tmp_path / "fleet.csv")), {}).left_out.get("time", "x "))
    assert "rows keep their order" in guess(from_files(str(tmp_path / "fleet.csv")), {}).left_out["time"]


DAYS = {
    "Date + Hour Ending": lambda time: {"Date": time.dt.strftime("%Y-%m-%d")},
    "Datum + hour": lambda time: {"Datum": time.dt.strftime("%d.%m.%Y")},
    "day + hour + minute": lambda time: {"day": time.dt.normalize(), "minute": time.dt.minute},
    "year + month + day + hour": lambda time: {
        "year": time.dt.year,
        "month": time.dt.month,
        "day": time.dt.day,
    },
}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("days", list(DAYS))
def test_a_day_and_the_number_of_an_hour_are_a_moment(tmp_path, days, first):
    frame = fleet("2026-01-20", "1h")
    hour = next(name for name in days.split(" + ") if "hour" in name.lower())
    hours = frame.assign(**DAYS[days](frame.time), **{hour: frame.time.dt.hour + first})
    hours.drop(columns="time").to_csv(tmp_path / "fleet.csv", index=False)
    pool, declared = opened(tmp_path / "fleet.csv")
    assert (declared["task"], declared["time"]) == ("device", days)
    beside = guessed(hours.assign(at=frame.time).drop(columns="time")).declaration["time"]
    assert beside == "at"  # a moment that is whole needs no other column
    assert pool.times[0] % 86_400 == 0  # the first hour of a day begins it, however it is numbered
    as_written(pool, frame, ["pressure", "flow"])


def test_what_numbers_the_times_of_a_day_is_no_device():
    frame = fleet(step="1h").assign(day=lambda one: one.time.dt.normalize())
    frame["interval"] = frame.time.dt.hour * 3600
    with pytest.raises(DataError, match="'interval' seems to number the times of each: write both"):
        guessed(frame.drop(columns="time"))
    numbers = frame.assign(day=frame.time.dt.strftime("%Y%m%d").astype(int))
    numbers["time"] = frame.time.dt.strftime("%H%M%S").astype(int)
    with pytest.raises(DataError, match="'time' seems to number the times of each"):
        guessed(numbers.drop(columns="interval"))
    with pytest.raises(DataError, match="'interval' holds 0 to 82800, and hours of a day are"):
        guessed(frame.drop(columns="time"), time="day + interval")


def test_days_below_13_at_the_beginning_leave_a_column_a_time(tmp_path):
    """As of loggers whose first thousand rows are of one week."""
    random, rows = np.random.default_rng(3), 6 * 400
    time = pd.Timestamp("2026-03-01") + pd.to_timedelta(np.arange(rows) // 6, unit="h")
    frame = pd.DataFrame({"device": [f"p{one % 6}" for one in range(rows)], "time": time})
    frame["flow"] = random.normal(20, 2, rows).round(3)
    frame.assign(time=time.strftime("%d-%m-%Y %H:%M")).to_csv(tmp_path / "fleet.csv", index=False)
    pool, declared = opened(tmp_path / "fleet.csv")
    assert (declared["time"], pool.times[0]) == ("time", pd.Timestamp("2026-03-01").timestamp())
    wanted = frame.sort_values("device", kind="stable").flow
    np.testing.assert_array_equal(pool.values[:, 0], wanted.to_numpy(np.float32))


def test_levels_and_currents_are_measured_and_what_counts_rows_is_not():
    frame = fleet().assign(
        no=np.tile(np.arange(60), 6), battery=np.tile(np.repeat(np.arange(99, 95, -1), 15), 6)
    )
    frame = frame.rename(columns={"flow": "fuel_level", "pressure": "I"}).drop(columns="state")
    found = guessed(frame)
    assert (found.declaration["task"], found.left_out["no"]) == ("device", "counts the rows")
    assert set(found.declaration["channels"]) == {"fuel_level", "I", "battery"}
    named = guessed(frame.rename(columns={"device": "friendly"})).declaration
    assert (named["task"], "battery" in named["channels"]) == ("friendly", True)


@pytest.mark.parametrize("names", ["texts", "numbers"])
def test_what_names_a_reading_is_no_device(tmp_path, names):
    frame = fleet()
    frame["location"] = frame.device if names == "texts" else frame.device.str[1:].astype(int)
    long = frame.melt(["location", "time"], ["pressure", "flow"], "parameter", "value")
    long.to_csv(tmp_path / "fleet.csv", index=False)
    pool, declared = opened(tmp_path / "fleet.csv")
    assert (declared["task"], declared["readings"]) == ("location", ["parameter", "value"])
    as_written(pool, frame, declared["channels"])


def test_rows_are_ordered_by_when_they_were_measured():
    random = np.random.default_rng(4)
    frame = fleet().drop(columns="state")
    frame["uploaded_at"] = frame.time + pd.to_timedelta(random.integers(1, 86_400, len(frame)), unit="s")
    assert guessed(frame).declaration["time"] == "time"
    assert guessed(frame.drop(columns="time")).declaration["time"] == "uploaded_at"


def test_hours_left_are_rounded_and_count_down():
    frame = fleet(step="10min").drop(columns="state")
    frame["hours_left"] = np.tile(np.round(np.arange(60)[::-1] / 6, 3), 6)
    found = guessed(frame).declaration
    assert (found["kind"], found["targets"]) == ("regression", ["hours_left"])


def test_what_is_measured_on_an_engine_names_none():
    frame = fleet().assign(rpm=lambda one: (one.flow * 10).astype(int), nr=lambda one: one.device.str[1:])
    frame = frame.astype({"nr": int}).drop(columns="device")
    found = guessed(frame.rename(columns={"rpm": "Engine RPM", "nr": "CarId"})).declaration
    assert (found["task"], "Engine RPM" in found["channels"]) == ("CarId", True)
    assert guessed(frame.rename(columns={"nr": "engine_nr"})).declaration["task"] == "engine_nr"
    counted = guessed(frame.rename(columns={"rpm": "cars", "nr": "road_id"})).declaration
    assert (counted["task"], "cars" in counted["channels"]) == ("road_id", True)


NO_CLASSES = {
    "a direction": lambda frame: np.array(["N", "NNE", "SW"])[np.arange(len(frame)) * 7 % 10 // 4],
    "a weekday": lambda frame: np.array(["MON", "TUE", "SUN"])[np.arange(len(frame)) * 7 % 10 // 4],
    "a season": lambda frame: np.array(["fall", "winter"])[np.arange(len(frame)) * 7 % 10 // 5],
    "days cut at their own length": lambda frame: frame.time.dt.day_name().map(
        {"Monday": "Mon", "Tuesday": "Tues", "Wednesday": "Wed", "Thursday": "Thurs", "Friday": "Fri"}
    ),
    "a tariff": lambda frame: np.where(frame.time.dt.hour < 7, "low", "high"),
}


@pytest.mark.parametrize("name", list(NO_CLASSES))
def test_what_the_clock_or_the_compass_says_is_no_label(name):
    frame = fleet(step="8h").drop(columns="state")  # three weeks
    frame["tells"] = NO_CLASSES[name](frame)
    assert guessed(frame).declaration["kind"] == "forecasting"
    assert guessed(frame.assign(tells=np.where(frame.flow > 20, "x", "y"))).declaration["label"] == "tells"


def test_differences_in_the_last_digits_are_no_steps():
    frame = fleet()
    cumulated = np.cumsum(np.round(frame.flow / 20, 2))
    noisy = np.diff(cumulated, prepend=0)  # 0.92 and 0.9199999999999591
    assert len(np.unique(noisy)) > 1.5 * len(np.unique(noisy.astype(np.float32)))
    schema = RecordingSchema(kind="regression", task="device", channels=("pressure",), targets=("flow",))
    pool = build_in_memory(from_frame(frame.assign(flow=noisy)), schema)
    np.testing.assert_array_equal(pool.targets[:, 0], noisy.astype(np.float32))


@pytest.mark.parametrize("sep", [",", " "])
def test_names_of_rows_that_no_header_names_shift_nothing(tmp_path, sep):
    """As R writes a table, quotes and all."""
    frame = fleet().drop(columns="time")
    lines = frame.to_csv(sep=sep, quoting=2).splitlines()
    lines[0] = lines[0].split(sep, 1)[1]
    (tmp_path / "fleet.txt").write_text("\n".join(lines))
    pool, declared = opened(tmp_path / "fleet.txt")
    assert (declared["task"], declared["channels"]) == ("device", ["pressure", "flow"])
    np.testing.assert_array_equal(pool.values, frame[["pressure", "flow"]].to_numpy(np.float32))


def test_a_folder_of_what_loggers_call_dat_with_prose_above_each_table(tmp_path):
    frame = fleet()
    (tmp_path / "readme.txt").write_text("who recorded it, and where")
    for device, rows in frame.groupby("device"):
        prose = [f"Station {device}, 53°32' N, 7 m", "", "P pressure [bar]", "Format: (i2,2x,f6.1)"] * 15
        table = [f"{one.pressure:9.3f} {one.flow:9.3f}  7" for one in rows.itertuples()]
        text = "\n".join([*prose, "pressure     flow  quality", "***", *table])
        (tmp_path / f"{device}.dat").write_text(text, encoding="latin-1")
    pool, declared = opened(tmp_path)
    assert declared["task"] == "file"
    as_written(pool, frame, ["pressure", "flow"])
    assert any("60 line(s) before the table left out" in line for line in pool.info.intake), pool.info.intake


def test_moments_are_read_or_refused_whatever_their_column_is_called(tmp_path):
    for number, (device, rows) in enumerate(fleet().groupby("device")):
        begins = rows.time.astype(str) + ("+00:00" if number % 2 else "")
        rows.assign(begin=begins).drop(columns="time").to_csv(tmp_path / f"{device}.csv", index=False)
    with pytest.raises(DataError, match=r"p01\.csv, row 1: time column 'begin' holds"):
        guess(from_files(str(tmp_path)), {})


def test_files_of_unknown_names_are_counted_with_the_remedy(tmp_path):
    for name in ("a.awd", "b.awd"):
        (tmp_path / name).write_text("1\n2\n")
    with pytest.raises(DataError, match=r"2 file\(s\) such as a\.awd: give \.parquet, \.csv"):
        from_files(str(tmp_path))


def test_the_report_stops_at_a_split_that_training_would_refuse(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    frame = fleet()
    frame.loc[(frame.device == "p03") & (frame.time.dt.minute > 50), "state"] = "only here"
    frame.to_parquet(tmp_path / "fleet.parquet")
    recipe = tmp_path / "recipe.yaml"
    run = CliRunner().invoke
    made = run(cli, ["init", str(tmp_path / "fleet.parquet"), "--output", str(recipe), "--window", "4"])
    assert made.exit_code == 0, made.output
    text = recipe.read_text().replace("  test: 1", "  test_groups: [p03]\n  test: 1")
    recipe.write_text(text)
    told = run(cli, ["data", "report", str(recipe), "--json"])
    assert told.exit_code == 1
    first = json.loads(told.stdout)["findings"][0]
    assert (first["severity"], "'only here' occur in held-out tasks only" in first["what"]) == ("error", True)
