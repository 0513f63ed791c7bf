"""Months, quarters and weeks: moments where their column is called so, else said to order no rows."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from acclimate.errors import DataError
from acclimate.tasks import from_files
from acclimate.tasks.columns.clock import ClockReader
from acclimate.tasks.guessing.guess import guess
from tests.support.fleets import csv, opened

DEVICES, ROWS = 5, 50


def spans(folder, name: str, write, rows: int = ROWS):
    """A row for each span of each device, `write` of its number."""
    random = np.random.default_rng(0)
    keys = {"device": np.repeat([f"d{one}" for one in range(DEVICES)], rows)}
    keys[name] = np.tile([write(at) for at in range(rows)], DEVICES)
    values = pd.DataFrame(random.normal(size=(DEVICES * rows, 2)).round(2), columns=["x", "z"])
    return csv(folder, pd.DataFrame(keys).join(values))


def months(at: int) -> pd.Timestamp:
    return pd.Timestamp(1994, 1, 1) + pd.DateOffset(months=at)


def quarters(at: int) -> pd.Timestamp:
    return pd.Timestamp(1994, 1, 1) + pd.DateOffset(months=3 * at)


def halves(at: int) -> pd.Timestamp:
    return pd.Timestamp(1994, 1, 1) + pd.DateOffset(months=6 * at)


def weeks(at: int) -> pd.Timestamp:
    return pd.Timestamp(2019, 12, 30) + pd.Timedelta(weeks=at)


SPANS = {
    "1994 Jan": ("Month", months, lambda one: one.strftime("%Y %b")),
    "Jan 1994": ("Month", months, lambda one: one.strftime("%b %Y")),
    "Jan-94": ("month", months, lambda one: one.strftime("%b-%y")),
    "1994 Jan in a column of any name": ("index", months, lambda one: one.strftime("%Y %b")),
    "199401": ("yyyymm", months, lambda one: one.strftime("%Y%m")),
    "1994-01": ("month", months, lambda one: one.strftime("%Y-%m")),
    "1994M01": ("TIME_PERIOD", months, lambda one: one.strftime("%YM%m")),
    "1994Q1": ("quarter", quarters, lambda one: f"{one.year}Q{one.quarter}"),
    "1994-Q1": ("TIME_PERIOD", quarters, lambda one: f"{one.year}-Q{one.quarter}"),
    "Q1 1994": ("Quarter", quarters, lambda one: f"Q{one.quarter} {one.year}"),
    "1Q94": ("period", quarters, lambda one: f"{one.quarter}Q{one.year % 100:02d}"),
    "1994-S1": ("TIME_PERIOD", halves, lambda one: f"{one.year}-S{(one.month + 5) // 6}"),
    "2020-W01": ("week", weeks, lambda one: one.strftime("%G-W%V")),
    "2020 Week 1": ("week", weeks, lambda one: one.strftime("%G Week ") + str(one.week)),
    "2020-01 of weeks": ("week", weeks, lambda one: one.strftime("%G-%V")),
    "KW01/2020": ("KW", weeks, lambda one: one.strftime("KW%V/%G")),
    "2020-W01-1": ("week", weeks, lambda one: one.strftime("%G-W%V-%u")),
    "20191230": ("ymd", lambda at: pd.Timestamp(2019, 12, 30) + pd.Timedelta(days=at), "{:%Y%m%d}".format),
}


@pytest.mark.parametrize("name", list(SPANS))
def test_a_span_stands_for_its_first_day(name, tmp_path):
    column, first, write = SPANS[name]
    pool, declared = opened(spans(tmp_path, column, lambda at: write(first(at))))
    assert declared["time"] == column
    wanted = [first(at).timestamp() for at in range(ROWS)]
    np.testing.assert_array_equal(pool.times, wanted * DEVICES)


@pytest.mark.parametrize(
    ("column", "write"),
    [
        ("fiscal_year", lambda at: f"FY{1970 + at}"),
        ("season", lambda at: f"{1960 + at}/{(61 + at) % 100:02d}"),
    ],
)
def test_a_span_that_its_owner_begins_is_no_label_and_said_to_order_no_rows(column, write, tmp_path):
    guessed = guess(from_files(str(spans(tmp_path, column, write))), {})
    assert guessed.declaration["kind"] == "forecasting"
    assert "time" not in guessed.declaration
    assert column in guessed.left_out


def test_a_time_that_is_not_read_is_said_to_order_no_rows(tmp_path):
    guessed = guess(
        from_files(str(spans(tmp_path, "time", lambda at: f"Q{at % 4 + 1} {1994 + at // 4}"))), {}
    )
    assert "rows keep their order: write the first day" in guessed.left_out["time"]


def test_devices_called_like_months_or_days_stay_devices(tmp_path):
    random = np.random.default_rng(0)
    for write in ("Set {}".format, "{}0101".format, "{} Jan".format):
        names = np.repeat([write(2001 + one) for one in range(6)], 60)
        frame = pd.DataFrame({"machine": names, "x": random.normal(size=360), "z": random.normal(size=360)})
        assert guess(from_files(str(csv(tmp_path, frame))), {}).declaration["task"] == "machine"


def test_there_is_no_53rd_week_in_most_years_and_no_fifth_quarter():
    for column, text in (("quarter", "2019Q5"), ("week", "2019-W54"), ("week", "2019-W53")):
        with pytest.raises(DataError, match="no time"):
            ClockReader(column).see(pa.array([text]), str)


def test_a_date_of_points_beside_a_time_of_day_is_no_time_of_day(tmp_path):
    random = np.random.default_rng(0)
    times = pd.date_range("2026-01-20", periods=60, freq="15min")
    frame = pd.DataFrame(
        {
            "device": np.repeat([f"d{one}" for one in range(5)], 60),
            "Datum": [*times.strftime("%d.%m.%y")] * 5,
            "Uhrzeit": [*times.strftime("%H:%M")] * 5,
            "power": random.normal(size=300).round(3),
        }
    )
    pool, declared = opened(csv(tmp_path, frame), dates="day first")
    assert declared["time"] == "Datum + Uhrzeit"
    np.testing.assert_array_equal(pool.times[:60], [one.timestamp() for one in times])
