"""A row for each day or year and a column for each hour or month of it: one long series of each device."""

import numpy as np
import pandas as pd
import pytest

from acclimate.errors import DataError
from acclimate.tasks import from_files
from acclimate.tasks.guessing.guess import guess
from acclimate.tasks.report import report_on
from tests.support.fleets import csv, opened

HOURS = range(24)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def hourly(days: int = 30, step: str = "1h", start: str = "2025-03-01") -> pd.DataFrame:
    random = np.random.default_rng(0)
    times = pd.date_range(start, periods=days * 24, freq=step)
    daily = 5 * np.sin(np.arange(len(times)) / 24 * 2 * np.pi)
    return pd.concat(
        pd.DataFrame(
            {"device": f"m{one}", "time": times, "load": 9 * one + daily + random.normal(size=len(times))}
        )
        for one in range(5)
    ).round({"load": 2})


def by_day(frame: pd.DataFrame, names: list[str], day: str = "%Y-%m-%d") -> pd.DataFrame:
    parted = frame.assign(date=frame.time.dt.strftime(day), part=frame.time.dt.strftime("%H:%M"))
    wide = parted.pivot(index=["device", "date"], columns="part", values="load")
    return wide.set_axis(names, axis=1).reset_index()


def as_series(pool, frame: pd.DataFrame) -> None:
    np.testing.assert_array_equal(pool.values[:, 0], frame.load.astype(np.float32))
    np.testing.assert_array_equal(pool.times, frame.time.map(pd.Timestamp.timestamp))


NAMES = {
    "h1 to h24": [f"h{one + 1}" for one in HOURS],
    "H01 to H24": [f"H{one + 1:02d}" for one in HOURS],
    "hour_0 to hour_23": [f"hour_{one}" for one in HOURS],
    "0 to 23": [str(one) for one in HOURS],
    "00:00 to 23:00": [f"{one:02d}:00" for one in HOURS],
    "12 AM to 11 PM": [f"{one % 12 or 12} {'AM' if one < 12 else 'PM'}" for one in HOURS],
    "00-01 to 23-24": [f"{one:02d}-{one + 1:02d}" for one in HOURS],
    "T0000 to T2300": [f"T{one:02d}00" for one in HOURS],
}


@pytest.mark.parametrize("name", list(NAMES))
def test_hours_of_a_day_are_rows(name, tmp_path):
    frame = hourly()
    pool, declared = opened(csv(tmp_path, by_day(frame, NAMES[name])))
    assert (declared["task"], declared["time"], declared["channels"]) == (
        "device",
        "date + moment",
        ["value"],
    )
    assert declared["sample_rate_hz"] == pytest.approx(1 / 3600, rel=1e-3)
    as_series(pool, frame)


@pytest.mark.parametrize("day", ["%Y%m%d", "%d.%m.%Y"])
def test_quarters_of_an_hour_may_end_a_day(day, tmp_path):
    frame = hourly(days=80, step="15min", start="2025-05-01 00:15")  # as 24:00 of the day before
    ends = frame.assign(time=frame.time - pd.Timedelta("15min"))
    names = [f"{(one + 1) // 4:02d}:{(one + 1) % 4 * 15:02d}" for one in range(96)]
    pool, _ = opened(csv(tmp_path, by_day(ends, names, day), sep=";"))
    as_series(pool, frame)


@pytest.mark.parametrize("names", [MONTHS, [f"m{one:02d}" for one in range(1, 13)]])
def test_months_of_a_year_are_rows_and_what_sums_a_year_up_is_left_out(names, tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(10, 2, (5 * 24, 12)).round(1)
    years = {"station": np.repeat([f"s{one}" for one in range(5)], 24), "year": list(range(2000, 2024)) * 5}
    frame = (
        pd.DataFrame(years).join(pd.DataFrame(values, columns=names)).assign(Annual=values.mean(1).round(1))
    )
    path = csv(tmp_path, frame)
    pool, declared = opened(path)
    assert declared["time"] == "year + moment"
    assert "may tell what comes" in guess(from_files(str(path)), {}).left_out["Annual"]
    np.testing.assert_array_equal(pool.values[:, 0], values.reshape(-1).astype(np.float32))
    moments = [
        pd.Timestamp(year, month, 1).timestamp() for year in range(2000, 2024) for month in range(1, 13)
    ]
    np.testing.assert_array_equal(pool.times, moments * 5)


def test_a_row_for_each_quantity_of_a_day(tmp_path):
    names, frame = NAMES["h1 to h24"], hourly()
    load = by_day(frame, names).assign(quantity="load")
    gas = load.assign(quantity="gas", **{name: load[name] / 2 for name in names})
    pool, declared = opened(
        csv(tmp_path, pd.concat([load, gas]).sort_values(["device", "date"], kind="stable"))
    )
    assert declared["channels"] == ["gas", "load"]
    np.testing.assert_array_equal(pool.values[:, 1], frame["load"].astype(np.float32))
    assert not [one for one in report_on(pool).findings if one.severity == "error"]


def test_a_file_for_each_device(tmp_path):
    frame = hourly()
    for device, rows in by_day(frame, NAMES["0 to 23"]).groupby("device"):
        rows.drop(columns="device").to_csv(tmp_path / f"{device}.csv", index=False)
    pool, declared = opened(tmp_path)
    assert declared["task"] == "file"
    as_series(pool, frame)


def spectra(folder, **others) -> dict:
    """What is guessed of channels called h1 to h24, each on a scale of its own, a row a day."""
    random = np.random.default_rng(0)
    values = random.normal(100 * np.arange(24), 1, (150, 24)).round(3)
    days = pd.date_range("2025-01-01", periods=30).strftime("%Y-%m-%d")
    keys = {"device": np.repeat([f"d{one}" for one in range(5)], 30), "date": [*days] * 5, **others}
    frame = pd.DataFrame(keys).join(pd.DataFrame(values, columns=NAMES["h1 to h24"]))
    return guess(from_files(str(csv(folder, frame))), {}).declaration


def test_channels_of_which_no_day_ends_where_the_next_begins_stay_channels(tmp_path):
    assert spectra(tmp_path)["channels"] == NAMES["h1 to h24"]


def test_days_with_a_label_stay_rows(tmp_path):
    frame = by_day(hourly(), NAMES["00:00 to 23:00"])
    path = csv(tmp_path, frame.assign(label=np.array(["work", "rest"])[np.arange(len(frame)) % 7 // 5]))
    assert guess(from_files(str(path)), {}).declaration["label"] == "label"


def test_a_person_may_keep_the_columns_as_channels(tmp_path):
    path = csv(tmp_path, by_day(hourly(), NAMES["h1 to h24"]))
    assert guess(from_files(str(path)), {"time": "date"}).declaration["channels"] == NAMES["h1 to h24"]


@pytest.mark.parametrize(
    "names", [["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], [f"d{one}" for one in range(1, 32)]]
)
def test_days_of_a_week_or_month_are_said_to_be_some(names, tmp_path):
    random = np.random.default_rng(0)
    weeks = pd.date_range("2025-01-06", periods=40, freq="7D").strftime("%Y-%m-%d")
    keys = {"gateway": np.repeat([f"g{one}" for one in range(5)], 40), "since": [*weeks] * 5}
    frame = pd.DataFrame(keys).join(pd.DataFrame(random.normal(size=(200, len(names))), columns=names))
    guessed = guess(from_files(str(csv(tmp_path, frame))), {})
    assert f"'{names[0]}' to '{names[-1]}' may be days" in guessed.reasons["channels"]


def test_a_pattern_that_fits_no_whole_day_is_refused(tmp_path):
    path = csv(tmp_path, by_day(hourly(), NAMES["h1 to h24"]).drop(columns="h7"))
    with pytest.raises(DataError, match="its 23 columns are not all hours of a day"):
        opened(path, wide="h*", time="date + moment")
