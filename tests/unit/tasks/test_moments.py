"""Moments as people and loggers write them: each is read as it was meant, or refused with what to do."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from acclimate.errors import DataError
from acclimate.tasks.columns.clock import ClockReader

BEGIN = pd.Timestamp("2026-01-26 21:00")


def moments(rows: int = 90, step: str = "7min", begin: pd.Timestamp = BEGIN) -> pd.Series:
    return pd.Series(begin + np.arange(rows) * pd.Timedelta(step))


def read(texts, dates: str | None = None, batches: int = 1):
    reader = ClockReader("time", dates=dates)
    for part in np.array_split(np.asarray(texts, dtype=object), batches):
        reader.see(pa.array(part.tolist(), pa.string()), str)
    clock = reader.clock()
    return clock.read(pa.array(list(texts), pa.string()), str), clock


def ended(times: pd.Series, form: str, midnight: str) -> list[str]:
    """Midnight as the end of the day before."""
    before = times - pd.Timedelta("1D")
    at = times.dt.strftime("%H:%M") == "00:00"
    return before.dt.strftime(midnight).where(at, times.dt.strftime(form)).tolist()


FORMS = """
%d.%m.%Y, %H:%M                %m/%d/%Y, %I:%M:%S %p       %d/%m/%YT%H:%M:%S           %d.%m.%Y %H.%M
%d/%m/%Y %H:%M:%S:000          %Y-%m-%d_%H-%M-%S           %Y-%m-%d-%H-%M-%S           %Y-%m-%d %H.%M.%S
%Y%m%d %H:%M                   %Y%m%d_%H%M%S               %Y%m%dT%H%M%S.000Z          %Y%m%d:%H%M
%Y年%m月%d日 %H:%M             [%Y-%m-%d %H:%M:%S]         %d. Januar %Y %H:%M     %b %d, %Y @ %H:%M:%S.000
%B %d, %Y %H:%M                %d-%b-%y %H:%M              %a %d/%m/%Y %H:%M     %a %b %d %H:%M:%S UTC %Y
%d-%b-%y %I.%M.%S.000000 %p    %d/%m/%Y %I:%M p. m.        %Y-%m-%d %H:%M:%S +0000     %G-W%V-%uT%H:%M
%Y-%jT%H:%M:%S                 %Y-%m-%d %H:%M +0000 UTC    %d.%m.%Y %H:%M:%S,000       %m/%d/%Y %I:%M%p
"""


@pytest.mark.parametrize("form", re.split(r"\s{2,}|\n", FORMS.strip()))
def test_is_read_as_it_was_meant(form):
    times = moments(25) if "p. m." in form else moments()
    found, clock = read(times.dt.strftime(form), batches=3)
    np.testing.assert_array_equal(found, times.map(pd.Timestamp.timestamp))
    assert clock.dated


@pytest.mark.parametrize(
    ("written", "hours"),
    [("+0200", 2), ("-03:30", -3.5), ("CET", 1), ("CEST", 2), ("PDT", -7), ("GMT+05:30", 5.5)],
)
def test_zones_by_offset_or_by_letters_that_name_one(written, hours):
    found, clock = read(moments().dt.strftime(f"%d.%m.%Y %H:%M:%S {written}"))
    np.testing.assert_array_equal(found, moments().map(pd.Timestamp.timestamp) - 3600 * hours)
    assert clock.zoned


@pytest.mark.parametrize(
    ("form", "midnight"),
    [
        ("%d.%m.%Y %H:%M", "%d.%m.%Y 24:00"),
        ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT24:00:00Z"),
        ("%Y%m%dT%H%M%S", "%Y%m%dT240000"),
    ],
)
def test_midnight_may_end_a_day(form, midnight):
    times = moments(60, "15min")
    found, _ = read(ended(times, form, midnight), batches=2)
    np.testing.assert_array_equal(found, times.map(pd.Timestamp.timestamp))


def test_spreadsheets_leave_out_the_time_of_day_at_midnight():
    times = moments(60, "15min")
    midnight, whole = times.dt.strftime("%H:%M") == "00:00", times.dt.strftime("%d.%m.%Y %H:%M")
    short = times.dt.strftime("%d.%m.%Y").where(midnight, whole)
    np.testing.assert_array_equal(read(short)[0], times.map(pd.Timestamp.timestamp))


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%m-%d-%y", "%y/%m/%d"])
def test_the_order_of_which_the_days_follow_on_each_other_is_taken_and_said(form):
    times = moments(40, "3h", pd.Timestamp("2026-01-05"))
    found, clock = read(times.dt.strftime(form + " %H:%M"))
    np.testing.assert_array_equal(found, times.map(pd.Timestamp.timestamp))
    assert "first: so the days follow on each other" in clock.note


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(pd.Timestamp("2026-01-05")).repeat(9),
        pd.Series([pd.Timestamp(2020 + at // 12, at % 12 + 1, 1) for at in range(60)]),
        moments(10, "1D", pd.Timestamp("2026-02-01")),
    ],
    ids=["one day", "months", "ten days"],
)
def test_an_order_that_nothing_shows_is_refused_until_a_person_says_it(times):
    texts = times.dt.strftime("%d/%m/%Y")
    with pytest.raises(DataError, match=r"its last day may be .* \(day first\), .*`dates: day first`"):
        read(texts)
    np.testing.assert_array_equal(read(texts, "day first")[0], times.map(pd.Timestamp.timestamp))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-01-27 10:00 CST", "CST names no zone, or several"),
        ("2026-01-27 24:01:00", "no time"),
        ("31.04.2026 10:00", "no time"),
        ("2026-366T00:00", "no time"),
        ("2026-01-27 13:00 PM", "no time"),
        ("yesterday at 10:00", "no time"),
        ("1/2/3/4 10:00", "no time"),
        ("2026-01-31 14.5", "no time"),
        ("31.01.2026 14:00:00:5", "no time"),
        ("2026-01-31-14-00-00-50", "no time"),
        ("31.01.2026 14:00 -99:99", "-99:99 names no zone"),
        *(
            (f"27.01.2026 10:00 {zone}", f"{zone} names no zone, or several")
            for zone in ("EST", "MST", "PST")
        ),
    ],
)
def test_what_is_no_moment_is_refused(text, why):
    with pytest.raises(DataError, match=f"holds '.*', {why}"):
        read([text])


def test_a_time_of_day_in_brackets_is_none_to_leave_out():
    with pytest.raises(DataError, match=r"1: .* holds '05.01.2026 \(15h\)', no time"):
        read(["05.01.2026 (14:00)", "05.01.2026 (15h)"])


NAMES = """
decanter-05   dec05         outlet_01     outlet_2001   generator 01  Gen-10        Mark 12       marker 2001
set 10        SET-16        out 10        maiden 2021   WTG-2021-07   SN2021-05     PV 2019/3     Q4 2025
T1 2026       2026-W05      KW 5 2026     CW 05-2026    SN-2021-05-03  monitor 2021-05            10.1.20.1
10.1.20.12    Monitor 5.1.2026            mayor 5 2026  v5.1.2026     2026-01-31 上午 10:00
"""


@pytest.mark.parametrize("text", re.split(r"\s{2,}|\n", NAMES.strip()))
def test_a_name_with_numbers_is_no_moment(text):
    with pytest.raises(DataError, match=r"holds '.*', no time"):
        read([text])


@pytest.mark.parametrize("text", ["Jan 26 14:00:01", "26 Jan 14:00:01", "<Jan 26 14:00:01>"])
def test_a_month_and_a_day_without_a_year_are_refused(text):
    with pytest.raises(DataError, match="no year"):
        read([text])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("May 2026", "2026-05-01"),
        ("Sept 5, 2026", "2026-09-05"),
        ("5. März 2026 14:00 Uhr", "2026-03-05 14:00"),
        ("31/01/2026 à 14h30", "2026-01-31 14:30"),
        ("31 de enero de 2026", "2026-01-31"),
        ("2026年1月31日 9时5分", "2026-01-31 09:05"),
        ("31.01.2026 14 Uhr", "2026-01-31 14:00"),
        ("26 août 2026 14:00", "2026-08-26 14:00"),
        ("Sat Jan 31 2026 14:00:00 GMT+0100 (Central European Standard Time)", "2026-01-31 13:00"),
        ("Saturday, 31 January 2026 14:00:00 CET", "2026-01-31 13:00"),
    ],
)
def test_words_of_the_calendar_are_read(text, meant):
    assert read([text])[0] == [pd.Timestamp(meant).timestamp()]


def test_a_short_year_may_come_before_the_name_of_a_month():
    times = moments(31, "1D", pd.Timestamp("2026-01-01"))
    found, _ = read(times.dt.strftime("%y-%b-%d"))
    np.testing.assert_array_equal(found, times.map(pd.Timestamp.timestamp))
    assert read(["26-Jan-31"])[0] == [pd.Timestamp("2031-01-26").timestamp()]
    assert read(["26-Jan-31"], "year first")[0] == [pd.Timestamp("2026-01-31").timestamp()]


def visits(form: str) -> list[str]:
    """A day of every month, at some hours of it."""
    days = [pd.Timestamp(2025, month, 1, hour) for month in range(1, 13) for hour in range(8, 19, 2)]
    return [day.strftime(form) for day in days]


def test_visits_once_a_month_are_no_days_that_follow_on_each_other():
    with pytest.raises(DataError, match="day and month cannot be told apart"):
        read(visits("%d/%m/%Y %H:%M"))
    found, _ = read(visits("%d.%m.%Y %H:%M"))
    assert found[-1] == pd.Timestamp("2025-12-01 18:00").timestamp()


def test_the_time_of_day_may_come_with_later_rows():
    for rows in (["5.1.2026", "13.1.2026 10:00"], ["1/5/2026", "1/13/2026 10:00:00"]):
        found, _ = read(rows, batches=2)
        assert found.tolist() == [pd.Timestamp(one).timestamp() for one in ("2026-01-05", "2026-01-13 10:00")]
