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
    [("+0200", 2), ("-03:30", -3.5), ("CET", 1), ("CEST", 2), ("EDT", -4), ("GMT+05:30", 5.5)],
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
    ],
)
def test_what_is_no_moment_is_refused(text, why):
    with pytest.raises(DataError, match=f"holds '.*', {why}"):
        read([text])
