"""The ways in which text and whole numbers write a moment, as Arrow timestamps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.tasks.columns.patterns import is_named, is_short, is_vague, month, patterns
from acclimate.tasks.columns.periods import names_periods, names_weeks, period_patterns

Numbers = npt.NDArray[np.int64]
DIGITS = {6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""How whole numbers of so many digits write a moment."""
ISO = ("ISO 8601 with a zone", "ISO 8601")


_AHEAD = "Z=0 UTC=0 GMT=0 UT=0 WET=0 WEST=1 CET=1 CEST=2 MET=1 MEST=2 MEZ=1 MESZ=2 EET=2 EEST=3 MSK=3"
_AHEAD += " CDT=-5 MDT=-6 PDT=-7 JST=9 KST=9 AEST=10 AEDT=11 NZST=12 NZDT=13"
_ZONES = {name: 60 * int(hours) for name, _, hours in (one.partition("=") for one in _AHEAD.split())}
"""Minutes ahead of UTC where letters name one zone; CST, EST, EDT, MST, PST, IST and BST name several."""


def forms(example: str, column: str) -> Iterator[str]:
    """Every way to write a moment as text that an example may follow, the safest first.

    Args:
        column: what it is called; quarters and weeks are moments in columns that are called so.
    """
    yield from ISO
    weeks = names_weeks(column)
    yield from (one for one in patterns(example) if not (weeks and is_vague(one)))
    if names_periods(column):
        yield from period_patterns(column, example)


def fits(values: Any, form: str) -> bool:
    """Whether every value is written like this."""
    try:
        parsed(values, form)
    except pa.ArrowInvalid:
        return False
    return True


def parsed(values: Any, form: str) -> Any:
    """Text as timestamps.

    Raises:
        pyarrow.ArrowInvalid: a value is not written like this.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if form not in ISO:
        return _by_pattern(values, form)
    zone = "UTC" if form == ISO[0] else None
    try:
        return pc.cast(values, pa.timestamp("us", zone))
    except pa.ArrowInvalid:
        return pc.cast(values, pa.timestamp("ns", zone))


@dataclass(frozen=True)
class _Groups:
    """What the groups of a pattern hold of some texts; a default where there is no group, or it is empty."""

    pattern: str
    found: Any

    def __contains__(self, name: str) -> bool:
        return f"(?P<{name}>" in self.pattern

    def texts(self, name: str, default: str) -> Any:
        held = pc.fill_null(pc.struct_field(self.found, name), "")
        return pc.if_else(pc.equal(held, ""), default, held)

    def number(self, name: str, default: int, low: int, high: int) -> Numbers:
        """Whole numbers.

        Raises:
            pyarrow.ArrowInvalid: one is not between `low` and `high`.
        """
        if name not in self:
            return np.full(len(self.found), default)
        texts = self.texts(name, str(default))
        return _inside(np.asarray(pc.cast(texts, pa.int64()).to_numpy(zero_copy_only=False)), low, high)


def _by_pattern(values: Any, pattern: str) -> Any:
    groups = _Groups(pattern, pc.extract_regex(values, pattern))
    if groups.found.null_count > values.null_count:
        raise pa.ArrowInvalid("no time")
    hour = groups.number("hour", 0, 0, 24)
    if "half" in groups:
        later = _numbers(groups.texts("half", "a"), lambda one: one[0] in "pP")
        hour = _inside(hour, 0, 12) % 12 + 12 * later
    seconds = 60 * (60 * hour + groups.number("minute", 0, 0, 59)) + groups.number("second", 0, 0, 60)
    _inside(seconds, 0, 86_400)  # 24:00 ends a day
    if "zone" in groups:
        seconds = seconds - 60 * _numbers(groups.texts("zone", "Z"), _minutes_ahead)
    micros = 1_000_000 * (86_400 * _days(groups) + seconds)
    if "fraction" in groups:
        texts = pc.utf8_ltrim(groups.texts("fraction", "0"), ".,:")
        digits = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        fraction = pc.cast(texts, pa.int64()).to_numpy(zero_copy_only=False)
        micros = micros + np.round(fraction * 10.0 ** (6 - digits)).astype(np.int64)
    absent = pc.is_null(values).to_numpy(zero_copy_only=False)
    return pa.array(micros, pa.timestamp("us"), mask=absent)


def _days(groups: _Groups) -> Numbers:
    """Days since 1970, of what the calendar has.

    Raises:
        pyarrow.ArrowInvalid: there is no such day, or a month is called by no name.
    """
    short = is_short(groups.pattern)
    years = groups.number("year", 70 if short else 1970, 0 if short else 1000, 9999)
    years = np.where(years < 69, years + 2000, years + 1900) if short else years
    first = (years - 1970).astype("datetime64[Y]")
    if "week" in groups:
        january = (first.astype("datetime64[D]") + 3).astype(np.int64)  # the 4th is in the first week
        monday = january - (january + 3) % 7
        monday = monday + 7 * (groups.number("week", 1, 1, 53) - 1)
        if ((monday + 3).astype("datetime64[D]").astype("datetime64[Y]") != first).any():  # most have 52
            raise pa.ArrowInvalid("no week of the year")
        return np.asarray(monday + groups.number("weekday", 1, 1, 7) - 1)
    if "yearday" in groups:
        return _of_the_calendar(first, groups.number("yearday", 1, 1, 366))
    if "quarter" in groups or "semester" in groups:
        months = 3 * groups.number("quarter", 1, 1, 4) + 6 * groups.number("semester", 1, 1, 2) - 8
    elif is_named(groups.pattern):
        months = _inside(_numbers(groups.texts("month", "jan"), lambda one: month(one) or 0), 1, 12)
    else:
        months = groups.number("month", 1, 1, 12)
    return _of_the_calendar(first.astype("datetime64[M]") + (months - 1), groups.number("day", 1, 1, 31))


def _of_the_calendar(begin: npt.NDArray[Any], day: Numbers) -> Numbers:
    """The days of months or years, which must have so many."""
    days = begin.astype("datetime64[D]") + (day - 1)
    if (days.astype(begin.dtype) != begin).any():
        raise pa.ArrowInvalid("no day of the calendar")
    return np.asarray(days.astype(np.int64))


def _inside(numbers: Numbers, low: int, high: int) -> Numbers:
    if len(numbers) and not low <= numbers.min() <= numbers.max() <= high:
        raise pa.ArrowInvalid("no moment of the calendar")
    return numbers


def _numbers(texts: Any, number: Callable[[str], int]) -> Numbers:
    """A number for each text, made once of each that differs."""
    encoded = texts.dictionary_encode()
    made = np.array([number(one) for one in encoded.dictionary.to_pylist()], dtype=np.int64)
    return made[encoded.indices.to_numpy(zero_copy_only=False)]


def _minutes_ahead(zone: str) -> int:
    """Of UTC, by an offset or the letters of a zone.

    Raises:
        pyarrow.ArrowInvalid: the letters name no zone, or several.
    """
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::(\d\d)|(?<=\d\d)(\d\d))?", zone)
    if offset is not None:
        hours, minutes = int(offset[2]), int(offset[3] or offset[4] or 0)
        if hours <= 14 and minutes < 60:
            return (-1 if offset[1] == "-" else 1) * (60 * hours + minutes)
    if zone.upper() not in _ZONES:
        raise pa.ArrowInvalid(f"{zone} names no zone, or several")
    return _ZONES[zone.upper()]


def digits_of(values: Any, numbers: npt.NDArray[np.float64], column: str) -> set[int]:
    """With how many digits whole numbers write moments; 0 where one does not."""
    if not pa.types.is_integer(values.type) or len(numbers) == 0:
        return {0}
    months = names_periods(column) and not names_weeks(column)  # elsewhere 200001 may count something
    if numbers.min() < (100_001 if months else 19_900_101) or numbers.max() > 21_001_231_235_959:
        return {0}
    lengths = set(pc.unique(pc.utf8_length(pc.cast(values.drop_null(), pa.string()))).to_pylist())
    if len(lengths) > 1 or not lengths <= set(DIGITS):
        return {0}
    try:
        of_digits(values)
    except pa.ArrowInvalid:
        return {0}
    return lengths


def of_digits(values: Any) -> Any:
    """Whole numbers such as 20260131140000 as timestamps.

    Raises:
        pyarrow.ArrowInvalid: one is no moment of the calendar.
    """
    text = pc.cast(values, pa.string())
    length = len(next(one for one in text.to_pylist() if one is not None))
    parts = [
        pc.utf8_slice_codeunits(text, at, min(at + step, length)) for at, step in ((0, 4), (4, 2), (6, 2))
    ]
    hours = [pc.utf8_slice_codeunits(text, at, at + 2) if at < length else "00" for at in (8, 10, 12)]
    parts[2] = parts[2] if length > 6 else pa.repeat("01", len(text))
    day, hour = pc.binary_join_element_wise(*parts, "-"), pc.binary_join_element_wise(*hours, ":")
    if isinstance(hour, pa.Scalar):
        hour = pa.repeat(hour, len(text))
    stamps = pc.strptime(pc.binary_join_element_wise(day, hour, " "), format="%Y-%m-%d %H:%M:%S", unit="us")
    # strptime forgives 30 February: it must come back as it was written
    if not pc.all(pc.equal(pc.strftime(stamps, format="%Y-%m-%d"), day)).as_py():
        raise pa.ArrowInvalid("no day of the calendar")
    return stamps
