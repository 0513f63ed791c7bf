"""What a time column says, in seconds: timestamps, text, or numbers since 1970 or since anything.

How it is written is found on the first pass, over every row, and said; what stays open (5/6/2026) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError
from acclimate.tasks.columns import Where
from acclimate.tasks.sources.types import first_failing

Seconds = npt.NDArray[np.float64]
TICKS: dict[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_FIRST_S, _LAST_S = 631_152_000.0, 4_102_444_800.0  # 1990 to 2100: what a number must lie in to be a date
_DAYS = {"day first": ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y"), "month first": ("%m/%d/%Y", "%m-%d-%Y")}
_HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_ISO = ("ISO 8601 with a zone", "ISO 8601")


@dataclass(frozen=True)
class Clock:
    """How a time column is read.

    Attributes:
        form: `stamp`, `number`, or how text is written.
        ticks: of a number in a second.
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
                f"{where(index)}: remove them"
            )
        if self.form == "number":
            return self._numbers(values, where)
        stamps = values if self.form == "stamp" else _parsed(values, self.form)
        return _seconds(stamps)

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


@dataclass
class ClockReader:
    """Sees every batch of a time column once, then knows its `Clock`.

    Attributes:
        may_be_dated: numbers that could count from 1970 do; else they are taken as they are.
    """

    column: str
    may_be_dated: bool = True
    _forms: list[str] | None = None
    _type: Any = None
    _least: float = np.inf
    _most: float = -np.inf
    _differ: bool = field(default=False)

    def see(self, values: Any, where: Where) -> None:
        """Take an Arrow array of the column.

        Raises:
            DataError: it holds neither timestamps nor numbers nor text that is a time.
        """
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        self._type = values.type
        present = values.drop_null()
        if len(present) == 0:
            return
        if pa.types.is_string(values.type):
            self._see_text(values, where)
        elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            ends = pc.min_max(present)
            self._least = min(self._least, float(ends["min"].as_py()))
            self._most = max(self._most, float(ends["max"].as_py()))
        elif not pa.types.is_timestamp(values.type):
            raise DataError(
                f"time column {self.column!r} holds {values.type}: use timestamps, ISO 8601 text or numbers"
            )

    def _see_text(self, values: Any, where: Where) -> None:
        known = list(_forms()) if self._forms is None else self._forms
        fitting = [form for form in known if _fits(values, form)]
        if not fitting:
            index = max(_first_failing(values, form) for form in known)
            raise DataError(
                f"{where(index)}: time column {self.column!r} holds {values[index].as_py()!r}, no time"
                f"{' written as the rows before' if self._forms else ''}: write ISO 8601, such as "
                "2026-01-31T14:00:00Z, in every row"
            )
        days = {_order(form) for form in fitting} - {""}
        if len(days) > 1 and not self._differ:
            one, other = (next(form for form in fitting if _order(form) == day) for day in sorted(days))
            self._differ = not _parsed(values, one).equals(_parsed(values, other))
        self._forms = fitting

    def clock(self) -> Clock:
        """How the column is read.

        Raises:
            DataError: day and month cannot be told apart.
        """
        if self._type is not None and pa.types.is_timestamp(self._type):
            zoned = bool(self._type.tz)
            return Clock(self.column, "stamp", dated=True, zoned=zoned)
        if self._forms:
            if self._differ and len({_order(form) for form in self._forms} - {""}) > 1:
                raise DataError(
                    f"time column {self.column!r}: day and month cannot be told apart, no day is above 12: "
                    "write ISO 8601, such as 2026-01-31T14:00:00Z"
                )
            form = self._forms[0]
            zoned = form == _ISO[0]
            return Clock(
                self.column,
                form,
                dated=True,
                zoned=zoned,
                note=f"time column {self.column!r}: text, read as {form}",
            )
        unit = self._epoch() if self.may_be_dated else None
        if unit is None:
            return Clock(self.column)
        note = f"time column {self.column!r}: numbers, read as {unit} since 1970"
        return Clock(self.column, "number", TICKS[unit], dated=True, zoned=True, note=note)

    def _epoch(self) -> str | None:
        for unit, ticks in TICKS.items():
            if self._least / ticks >= _FIRST_S and self._most / ticks <= _LAST_S:
                return unit
        return None


def guess_clock(column: str, values: Any) -> Clock | None:
    """The clock of a sample; None where it holds no times."""
    reader = ClockReader(column)
    try:
        reader.see(values, str)
        return reader.clock()
    except DataError:
        return None


def _forms() -> Iterator[str]:
    yield from _ISO
    for days in _DAYS.values():
        for day in days:
            yield from (day + hour for hour in _HOURS)


def _order(form: str) -> str:
    return next((name for name, days in _DAYS.items() if form.startswith(days)), "")


def _fits(values: Any, form: str) -> bool:
    try:
        _parsed(values, form)
    except pa.ArrowInvalid:
        return False
    return True


def _first_failing(values: Any, form: str) -> int:
    return first_failing(values, lambda part: _parsed(part, form))


def _parsed(values: Any, form: str) -> Any:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if form not in _ISO:
        return pc.strptime(values, format=form, unit="us")
    zone = "UTC" if form == _ISO[0] else None
    try:
        return pc.cast(values, pa.timestamp("us", zone))
    except pa.ArrowInvalid:
        return pc.cast(values, pa.timestamp("ns", zone))


def _seconds(stamps: Any) -> Seconds:
    ticks = int(TICKS[stamps.type.unit])
    whole = np.asarray(pc.cast(stamps, pa.int64()).to_numpy(zero_copy_only=False))
    return (whole // ticks).astype(np.float64) + (whole % ticks) / ticks
