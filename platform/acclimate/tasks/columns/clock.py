"""What a time column says, in seconds: timestamps, text, or numbers since 1970 or since anything.

How it is written is found on the first pass, over every row, and said; what stays open (5/6/2026) is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError
from acclimate.tasks.columns.arrays import Where
from acclimate.tasks.columns.days import Days
from acclimate.tasks.columns.patterns import is_dotted, is_named, lacks_year, order, reaches, spoken
from acclimate.tasks.columns.periods import spoken_period
from acclimate.tasks.columns.words import TIME, words
from acclimate.tasks.columns.written import DIGITS, ISO, digits_of, fits, forms, of_digits, parsed
from acclimate.tasks.sources.types import first_failing

Seconds = npt.NDArray[np.float64]
TICKS: dict[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DAYS = {
    "workbooks": 25_569.0,
    "Matlab": 719_529.0,
    "astronomers": 2_440_587.5,
    "astronomers (modified)": 40_587.0,
}
"""Days that some count at the beginning of 1970."""
_MODIFIED = "mjd"
"""What a column is called whose days are those and no workbook's, which are as many 41 years later."""
_DAY_S = 86_400.0
_OF_DAY = re.compile(r"\s*(\d+ days?,? )?\d+:\d\d(:\d\d([.,]\d+)?)?\s*([AaPp][Mm])?\s*|PT?[0-9HMSTD.,]+")
_FIRST_S, _LAST_S = 631_152_000.0, 4_102_444_800.0  # 1990 to 2100: what a number must lie in to be a date


@dataclass(frozen=True)
class Clock:
    """How a time column is read.

    Attributes:
        form: `stamp`, `number`, `days`, `digits` such as 20260131140000, or how text is written.
        ticks: of a number in a second; 0: each by its own size; of days, their number at the start of 1970.
        dated: seconds count from 1970.
        zoned: they are UTC; else local time as somebody's clock showed it.
        note: what a person should know, or empty.
    """

    column: str
    form: str = "number"
    ticks: float = 1.0
    dated: bool = False
    zoned: bool = False
    note: str = ""

    def read(self, values: Any, where: Where) -> Seconds:
        """Seconds of an Arrow array of this column.

        Raises:
            DataError: a row has no time.
        """
        if values.null_count:
            index = int(np.argmax(pc.is_null(values).to_numpy(zero_copy_only=False)))
            raise DataError(
                f"time column {self.column!r} has {values.null_count} row(s) without a time, first "
                f"{where(index)}: remove them, as of lines that sum others up, or leave such files out with "
                "a pattern of names"
            )
        if self.form in ("number", "digits", "days"):
            values = _as_numbers(values)
        if self.form == "days":
            days = np.asarray(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False))
            return np.round((days - self.ticks) * _DAY_S, 1)
        if self.form == "number":
            return self._numbers(values, where) if self.ticks else self._by_size(values)
        if self.form == "digits":
            return _seconds(of_digits(values))
        if self.form == "stamp":
            return _seconds(values)
        try:
            return _seconds(parsed(values, self.form))
        except pa.ArrowInvalid:
            raise _no_time(self.column, values, [self.form], where, " written as other rows") from None

    def _numbers(self, values: Any, where: Where) -> Seconds:
        if self.ticks > 1 and pa.types.is_integer(values.type):
            whole = np.asarray(pc.cast(values, pa.int64()).to_numpy(zero_copy_only=False))
            second = int(self.ticks)
            return (whole // second).astype(np.float64) + (whole % second) / self.ticks
        numbers = np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        if not np.isfinite(numbers).all():
            index = int(np.argmax(~np.isfinite(numbers)))
            raise DataError(
                f"{where(index)}: time column {self.column!r} holds {numbers[index]}: remove the row"
            )
        return numbers / self.ticks

    def _by_size(self, values: Any) -> Seconds:
        numbers = np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        seconds = np.empty_like(numbers)
        for ticks in TICKS.values():
            of_it = (numbers >= _FIRST_S * ticks) & (numbers <= _LAST_S * ticks)
            seconds[of_it] = numbers[of_it] / ticks
        return seconds


@dataclass
class ClockReader:
    """Sees every batch of a time column once, then knows its `Clock`.

    Attributes:
        may_be_dated: numbers that could count from 1970 do; else they are taken as they are.
        dates: what comes first in a date, such as `day first`; None: rows show it.
    """

    column: str
    may_be_dated: bool = True
    dates: str | None = None
    _forms: list[str] | None = None
    _type: Any = None
    _units: Counter[str] = field(default_factory=Counter)
    _odd: str = ""
    _digits: set[int] = field(default_factory=set)
    _readings: dict[str, Days] = field(default_factory=dict)
    _of_days: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(_DAYS, True))

    def see(self, values: Any, where: Where) -> None:
        """Take an Arrow array of the column.

        Raises:
            DataError: it holds neither timestamps nor numbers nor text that is a time.
        """
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if self._forms is None:
            values = _as_numbers(values)
        self._type = values.type
        present = values.drop_null()
        if len(present) == 0:
            return
        if pa.types.is_string(values.type):
            self._see_text(values, where)
        elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            self._see_numbers(values, where)
        elif not pa.types.is_timestamp(values.type):
            raise DataError(
                f"time column {self.column!r} holds {values.type}: use timestamps, ISO 8601 text or numbers"
            )

    def _see_numbers(self, values: Any, where: Where) -> None:
        """Count the numbers that could be moments, by their unit; the others have the unit ''."""
        numbers = np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        present = ~np.isnan(numbers)
        other = present.copy()
        for unit, ticks in TICKS.items():
            of_it = (numbers >= _FIRST_S * ticks) & (numbers <= _LAST_S * ticks)
            self._units[unit] += int(of_it.sum())
            other &= ~of_it
        self._units[""] += int(other.sum())
        if other.any() and not self._odd:
            first = int(np.argmax(other))
            self._odd = f"{where(first)}: time column {self.column!r} holds {values[first].as_py()}"
        self._digits |= digits_of(values, numbers[present], self.column)
        self._see_days(numbers[present])

    def _see_days(self, numbers: Seconds) -> None:
        """Whether these count days: whole seconds, written with more digits than anybody writes seconds."""
        if not np.isfinite(numbers).all():
            self._of_days = dict.fromkeys(_DAYS, False)
            return
        seconds = numbers * _DAY_S
        whole = bool((np.abs(seconds - np.round(seconds)) < 0.1).all())
        fine = bool((np.abs(numbers * 1e4 - np.round(numbers * 1e4)) > 1e-3).mean() > 0.2)
        modified = _MODIFIED in words(self.column)
        for who, begin in _DAYS.items():
            self._of_days[who] &= modified == who.endswith("(modified)")
            inside = (numbers >= begin + _FIRST_S / _DAY_S) & (numbers <= begin + _LAST_S / _DAY_S)
            self._of_days[who] &= whole and fine and bool(inside.all())

    def _see_text(self, values: Any, where: Where) -> None:
        known = self._forms or []
        if self._forms is None and not self._units:
            every = forms(_longest(values), self.column)
            known = [form for form in every if not self.dates or order(form) in ("", self.dates)]
        fitting = _fitting(values, known) or self._with_time_of_day(values)
        if not fitting:
            as_before = " written as the rows before" if self._forms or self._units else ""
            raise _no_time(self.column, values, known, where, as_before)
        self._forms = fitting
        self._readings = {form: seen for form, seen in self._readings.items() if form in fitting}
        if len({order(form) for form in fitting} - {""}) > 1:
            for form in filter(order, fitting):
                self._readings.setdefault(form, Days()).see(_seconds(parsed(values.drop_null(), form)))

    def _with_time_of_day(self, values: Any) -> list[str]:
        """The forms of rows with a time of day, where those before are midnights that leave it out."""
        longer = {
            form: shorter
            for form in _fitting(values, list(forms(_longest(values), self.column)))
            for shorter in self._forms or []
            if reaches(form, shorter)
        }
        self._readings = {
            form: self._readings[short] for form, short in longer.items() if short in self._readings
        }
        return list(longer)

    def clock(self) -> Clock:
        """How the column is read.

        Raises:
            DataError: day and month cannot be told apart.
        """
        if self._type is not None and pa.types.is_timestamp(self._type):
            zoned = bool(self._type.tz)
            return Clock(self.column, "stamp", dated=True, zoned=zoned)
        if self._forms:
            form, why = (self._forms[0], "") if len(self._readings) < 2 else self._told_apart()
            written = f"text, read as {form if form in ISO else spoken_period(form) or spoken(form)}{why}"
            zoned = form == ISO[0] or "zone" in form
            return Clock(
                self.column, form, dated=True, zoned=zoned, note=f"time column {self.column!r}: {written}"
            )
        return self._of_numbers()

    def _told_apart(self) -> tuple[str, str]:
        """The one order of day, month and year that rows show, and how; all of them where none differs.

        Raises:
            DataError: they do not show it.
        """
        dotted = [form for form in self._readings if is_dotted(form) and order(form) == "month first"]
        readings = {form: days for form, days in self._readings.items() if form not in dotted}
        first = next(iter(readings.values()))
        if all(days.days == first.days for days in readings.values()):
            return next(iter(readings)), ""
        sure = [form for form, days in readings.items() if days.follow(readings.values())]
        if len(sure) == 1:
            return sure[0], f", {order(sure[0])}: so the days follow on each other"
        if all(map(is_named, readings)):
            return next(iter(readings)), ", day first: as nearly everybody writes it"
        ends = ", ".join(
            f"{np.datetime64(max(days.days), 'D')} ({order(form)})" for form, days in self._readings.items()
        )
        raise DataError(
            f"time column {self.column!r}: day and month cannot be told apart: its last day may be {ends}: "
            "say it with `dates`, such as `dates: day first`, or --dates"
        )

    def _of_numbers(self) -> Clock:
        if self._digits and len(self._digits) == 1 and 0 not in self._digits:
            form = DIGITS[next(iter(self._digits))]
            note = f"time column {self.column!r}: numbers, read as {form}"
            return Clock(self.column, "digits", dated=True, note=note)
        days = next((who for who, one in self._of_days.items() if one and self._units), None)
        if days and self.may_be_dated and words(self.column) & set(TIME.split()):
            note = f"time column {self.column!r}: numbers, read as days as {days} count them"
            return Clock(self.column, "days", _DAYS[days], dated=True, note=note)
        units = {unit: count for unit, count in self._units.items() if unit and count}
        moments, others = sum(units.values()), self._units[""]
        if not self.may_be_dated or moments <= others:
            return Clock(self.column)
        if others:
            raise DataError(
                f"{self._odd}, no moment between 1990 and 2100 as {moments:,} other rows are: a clock "
                f"that was not set? {others:,} row(s) are like it: correct or remove them"
            )
        told = " and ".join(
            f"{unit} ({count:,} rows)" if len(units) > 1 else unit for unit, count in units.items()
        )
        note = f"time column {self.column!r}: numbers, read as {told} since 1970"
        ticks = TICKS[next(iter(units))] if len(units) == 1 else 0.0
        return Clock(self.column, "number", ticks, dated=True, zoned=True, note=note)


def guess_clock(column: str, values: Any, dates: str | None) -> Clock | None:
    """The clock of a sample; None where it holds no times, or they can be read in two ways."""
    reader = ClockReader(column, dates=dates)
    try:
        reader.see(values, str)
        return reader.clock()
    except DataError:
        return None


def may_be_clock(column: str, values: Any) -> bool:
    """Whether all of a few values are written as times are; later ones may tell day and month apart."""
    reader = ClockReader(column)
    try:
        reader.see(values, str)
    except DataError:
        return False
    return True


def _as_numbers(values: Any) -> Any:
    """Text that holds nothing but numbers of a clock as numbers; else the values as they are."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not pa.types.is_string(values.type) or values.null_count == len(values):
        return values
    for pattern, type_ in ((r"^[0-9]{8,19}$", pa.int64()), (r"^[0-9]{5,12}[.][0-9]+$", pa.float64())):
        if pc.all(pc.match_substring_regex(values, pattern)).as_py():
            try:
                return pc.cast(values, type_)
            except pa.ArrowInvalid:
                return values
    return values


def _longest(values: Any) -> str:
    """The text that shows most of how a column is written; spreadsheets leave out what is zero."""
    lengths = pc.utf8_length(values)
    return str(values[pc.index(lengths, pc.max(lengths)).as_py()].as_py())


def _fitting(values: Any, known: Sequence[str]) -> list[str]:
    """The forms that values may be written in; those after one that leaves no doubt are kept untried."""
    for at, form in enumerate(known):
        if not order(form) and fits(values, form):
            return [form, *(other for other in known[at + 1 :] if other not in ISO)]
    return [form for form in known if order(form) and fits(values, form)]


def _no_time(column: str, values: Any, known: Sequence[str], where: Where, as_before: str) -> DataError:
    """What to say of the value that fits no form, as far as any form reaches."""
    found = {form: first_failing(values, partial(parsed, form=form)) for form in known}
    form = max(reversed(found), key=lambda one: found[one], default=ISO[1])
    index = found.get(form, 0)
    try:
        parsed(values.slice(index, 1), form)
        why = "no time"
    except pa.ArrowInvalid as error:
        why = str(error) if "names no zone" in str(error) else "no time"
        why = "no year" if lacks_year(str(values[index].as_py())) else why
    remedy = "write ISO 8601, such as 2026-01-31T14:00:00Z, in every row"
    if _OF_DAY.fullmatch(str(values[index].as_py())):
        remedy = "add the day, or write how long it is since the first row as a number of seconds"
    elif as_before:
        remedy += "; if the row sums others up, remove it"
    held = f"time column {column!r} holds {_short(values[index].as_py())}"
    return DataError(f"{where(index)}: {held}, {why}{as_before}: {remedy}")


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."


def _seconds(stamps: Any) -> Seconds:
    ticks = int(TICKS[stamps.type.unit])
    whole = np.asarray(pc.cast(stamps, pa.int64()).to_numpy(zero_copy_only=False))
    return (whole // ticks).astype(np.float64) + (whole % ticks) / ticks
