"""What several columns say together, read as one: a moment by date and time of day or hour, or by year,
month and day; a device by site and number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError
from acclimate.tasks.columns.arrays import named
from acclimate.tasks.columns.words import words
from acclimate.tasks.sources import Source
from acclimate.tasks.sources.around import PartAround
from acclimate.tasks.sources.types import Column

if TYPE_CHECKING:
    import pandas as pd

BETWEEN = " + "
"""Parts the names of the columns in the name of the one that they make."""
_HOUR = r"\d{1,2}(:\d\d(:\d\d([.,]\d+)?)?|[.]\d\d[.]\d\d)( ?[AaPp][Mm])?"
_DAY = r"\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3})[-/. ]\d{1,4}|\d{8}"

_PARTS = (
    (("year", "yr", "yyyy"), 1000, 9999),
    (("month", "mon", "mo", "mm"), 1, 12),
    (("day", "dom", "dd"), 1, 31),
    (("hour", "hr", "hh"), 0, 23),
    (("minute", "min", "mi"), 0, 59),
    (("second", "sec", "ss"), 0, 59),
)
"""Names of the numbers that make a moment, with what they lie in."""


@dataclass(frozen=True)
class ComposedPart(PartAround):
    """A part with one column more: what some of its columns hold, as one text.

    Attributes:
        parts: the columns, in the order of the text.
        moment: they are a moment's: a blank parts them, in place of a slash, and none lies around them.
        ending: the one whose hours are numbered 1 to 24, each by its end.
    """

    parts: tuple[str, ...]
    moment: bool
    ending: str | None

    @property
    def made(self) -> str:
        return BETWEEN.join(self.parts)

    @property
    def columns(self) -> Mapping[str, Column]:
        return {**self.part.columns, self.made: Column(pa.string())}

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        own = {name: self.part.columns[name].type for name in self.parts if self.made in types}
        asked = {name: type_ for name, type_ in types.items() if name != self.made}
        for arrays in self.part.batches({**own, **asked}):
            result = {name: arrays[name] for name in asked}
            if self.made in types:
                columns = [
                    pc.subtract(arrays[name], 1) if name == self.ending else arrays[name]
                    for name in self.parts
                ]
                result[self.made] = _moment(columns) if self.moment else _joined(map(_text, columns), "/")
            yield result


def composed(source: Source, roles: Mapping[str, str | None]) -> Source:
    """`source` with a column called `A + B` for each role that is declared so and has no column of that name.

    Args:
        roles: declared columns by `time`, `task`, `group` and `recording`.

    Raises:
        DataError: one of the columns is not there, or what it holds is no part of a moment or of a name.
    """
    for role, name in roles.items():
        if name is None or BETWEEN not in name or name in source.columns:
            continue
        parts = tuple(name.split(BETWEEN))
        for part in parts:
            _refuse_unfit(source, role, name, part)
        source = _with(source, parts, role == "time")
    return source


def together(frame: pd.DataFrame, name: str) -> pd.Series:
    """What columns of a sample called `A + B` hold together."""
    first, *others = (frame[part].astype(str) for part in name.split(BETWEEN))
    return first.str.cat(others, sep="/")


def _refuse_unfit(source: Source, role: str, name: str, part: str) -> None:
    if part not in source.columns:
        raise DataError(f"{role} is {name!r}, and {part!r} is no column; there are {source.columns[:20]}")
    type_ = source.types[part]
    day = pa.types.is_timestamp(type_) and name.startswith(part + BETWEEN)
    first, *others = name.split(BETWEEN)
    calendar = 3 <= len(others) + 1 <= len(_PARTS) and pa.types.is_integer(source.types[first])
    after_day = part in others and len(others) <= 3 and not pa.types.is_integer(source.types[first])
    before_text = pa.types.is_string(source.types.get(others[-1], pa.null()))
    numbered = pa.types.is_integer(type_) and (calendar or after_day or before_text)
    if role == "time" and not (pa.types.is_string(type_) or day or numbered):
        raise DataError(
            f"time is {name!r}, and column {part!r} holds {type_}: give a date and a time of day or whole "
            "hour, or year, month, day and so on as whole numbers; else write a column of timestamps"
        )
    if pa.types.is_nested(type_):
        raise DataError(f"{role} is {name!r}, and column {part!r} holds {type_}, which is no name")


def _with(source: Source, parts: tuple[str, ...], moment: bool) -> Source:
    listed = f"{', '.join(map(repr, parts[:-1]))} and {parts[-1]!r}"
    ending = _ending(source, parts) if moment else None
    told = (f"hours of {ending!r} are 1 to 24: 1 is read as 00:00",) if ending is not None else ()
    return Source(
        source.name,
        source.fingerprint,
        lambda: [ComposedPart(part, parts, moment, ending) for part in source.parts],
        (*source.said, f"columns {listed} read as one {'moment' if moment else 'name'}", *told),
    )


def _ending(source: Source, parts: tuple[str, ...]) -> str | None:
    """The column of a moment whose hours are numbered 1 to 24; None where they are 0 to 23, or there is none.

    Raises:
        DataError: it holds what is no hour.
    """
    numbered = [name for name in parts if pa.types.is_integer(source.types[name])]
    hours = numbered[3:4] if len(numbered) == len(parts) else numbered[:1]
    if not hours or (parts[0] in numbered and len(numbered) < len(parts)):  # a year before a text of months
        return None
    ends = [pc.min_max(batch.column(hours[0])).as_py() for batch in source.batches(hours)]
    first = min((one["min"] for one in ends if one["min"] is not None), default=0)
    last = max((one["max"] for one in ends if one["max"] is not None), default=0)
    if first < 0 or last - min(first, 1) > 23:
        raise DataError(
            f"column {hours[0]!r} holds {first} to {last}, and hours of a day are 0 to 23 or 1 to 24: write "
            "a column of timestamps"
        )
    return hours[0] if last == 24 else None


def halves(frame: pd.DataFrame, texts: Sequence[str]) -> str | None:
    """The name of the column that a date and a time of day make, of a sample's texts; None where none do."""
    hours = [name for name in texts if _all(frame[name], _HOUR)]
    if len(hours) == 2:  # 20.01.26 may be either, and beside 20:01 it is a day
        hours = [name for name in hours if not is_day(frame[name])]
    days = [name for name in texts if name not in hours and is_day(frame[name])]
    return days[0] + BETWEEN + hours[0] if len(hours) == 1 and len(days) == 1 else None


def day_and_hour(frame: pd.DataFrame, texts: Sequence[str]) -> str | None:
    """The name of the column that a date, an hour and what follows in numbers make; None where none do."""
    days = [name for name in texts if is_day(frame[name])]
    hours = [name for name in frame.columns if {"hour", "hr"} & words(name) and _lies(frame[name], 0, 24)]
    if len(days) != 1 or len(hours) != 1 or any(_is_moment(frame[name]) for name in {*frame} - {*days}):
        return None
    of_day = frame.groupby(days[0], observed=True)[hours[0]].nunique()
    if not of_day.median() > 0.7 * frame[hours[0]].nunique() > 2:  # the hour of a peak is one of them
        return None
    return BETWEEN.join([days[0], hours[0], *_in_order(frame, _PARTS[4:], ())])


def calendar_columns(frame: pd.DataFrame, named: Collection[str]) -> str | None:
    """The name of the column that a year, a month, a day and what follows make; None where none do."""
    found = _in_order(frame, _PARTS, named)
    return BETWEEN.join(found) if len(found) >= 3 else None


def days_in(frame: pd.DataFrame) -> str | None:
    """The one column of days, or year, month and day in three as `A + B + C`; None where there is none."""
    days = [name for name in frame.columns if is_day(frame[name])]
    found = _in_order(frame, _PARTS[:3], ())
    return days[0] if len(days) == 1 else BETWEEN.join(found) if len(found) == 3 and not days else None


def are_years(frame: pd.DataFrame) -> str | None:
    """The column of a year, by its name and what lies in it; None where there is none, or one of months."""
    found = _in_order(frame, _PARTS[:2], ())
    return found[0] if len(found) == 1 else None


def are_days(frame: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether columns are a month and a day of it, or one of both, by their names and what lies in them."""
    return len(names) <= 2 and _in_order(frame[list(names)], _PARTS[3 - len(names) : 3], ()) == list(names)


def _in_order(
    frame: pd.DataFrame, parts: Iterable[tuple[Sequence[str], int, int]], named: Collection[str]
) -> list[str]:
    found: list[str] = []
    called = {str(name).lower(): name for name in frame.columns if name not in named}
    if "max" in called:  # beside which `min` is no minute
        called.pop("min", None)
    for names, low, high in parts:
        column = next((called[name] for name in names if name in called), None)
        if column is None or not _lies(frame[column], low, high + (high == 23)):  # hours may be 1 to 24
            break
        found.append(column)
    return found


def _lies(values: pd.Series, low: int, high: int) -> bool:
    return values.dtype.kind in "iu" and bool(values.between(low, high).all())


def is_day(values: pd.Series) -> bool:
    """Whether a sample's column holds days, as moments or as text."""
    if _is_moment(values):
        return bool((values.dropna() == values.dropna().dt.normalize()).all())
    return _all(values, _DAY)


def _all(values: pd.Series, pattern: str) -> bool:
    if _is_moment(values) or len(values) == 0:
        return False
    return bool(values.astype(str).str.strip().str.fullmatch(pattern).all())


def _moment(columns: Sequence[Any]) -> Any:
    """A date and a time of day, or the numbers of a calendar, as text that is a moment."""
    numbers = [column for column in columns if pa.types.is_integer(column.type)]
    if 0 < len(numbers) < len(columns) and numbers[0] is columns[0]:
        return _joined((pc.utf8_lpad(_text(column), 2, "0") for column in columns), " ")
    digits = [pc.utf8_lpad(pc.cast(column, pa.string()), 2, "0") for column in numbers]
    zeros = pa.repeat("00", len(columns[0]))
    if len(digits) == len(columns):
        hours = [*digits[3:], *[zeros] * (len(_PARTS) - len(digits))]
        return _joined((_joined(digits[:3], "-"), _joined(hours, ":")), " ")
    texts = [_of_moment(column) for column in columns if not pa.types.is_integer(column.type)]
    return _joined([*texts, _joined([*digits, *[zeros] * (3 - len(digits))], ":")] if digits else texts, " ")


def _joined(texts: Iterable[Any], between: str) -> Any:
    return pc.binary_join_element_wise(*texts, between)


def _of_moment(values: Any) -> Any:
    day = pa.types.is_timestamp(values.type)
    return pc.strftime(values, format="%Y-%m-%d") if day else pc.utf8_trim_whitespace(_text(values))


def _text(values: Any) -> Any:
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    if pa.types.is_string(encoded.dictionary.type):
        return encoded.dictionary_decode()
    names = [
        None if value is None or value != value else named(value) for value in encoded.dictionary.to_pylist()
    ]
    return pa.array(names, pa.string()).take(encoded.indices)


def _is_moment(values: pd.Series) -> bool:
    return values.dtype.kind == "M"
