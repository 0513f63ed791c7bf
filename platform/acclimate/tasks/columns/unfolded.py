"""Tables with a row for each day or year of a device, and a column for each hour, quarter of an hour or month
of it: what the columns' names say, and what moment each makes with the row's own day or year.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from acclimate.tasks.columns.composed import BETWEEN, are_years, days_in
from acclimate.tasks.columns.patterns import month

_WEEK = {name[:length] for name in calendar.day_name for length in (2, 3, 4, 5, None)}
DAYS, YEARS = "days", "years"
_STEPS_OF_A_DAY = (24, 48, 96, 144, 288, 1440)
_HOURS = ("", "h", "hr", "hour", "he", "hh", "t", "hora", "heure", "stunde", "uhr")
_MONTHS = ("", "m", "month", "monat", "mois", "mes")
"""What stands before the number of an hour or month in a column's name."""
_CLOCK = re.compile(r"\D*?(\d{1,2}):(\d\d)(?::00)?(?:\s*([AaPp])\.?[Mm]\.?)?")
_HALF = re.compile(r"\D*?(\d{1,2})\s*([AaPp])\.?[Mm]\.?")
_FROM_TO = re.compile(r"\D*?(\d{1,2})\s*[-\u2013_]\s*(\d{1,2})\D*")
_PACKED = re.compile(r"\D*?(\d\d)(\d\d)")
_NUMBERED = re.compile(r"(.*?)0*(\d+)")
_SMOOTH = 5.0
"""Times the usual step from one column to the next that the last of a day lies from the first of the next."""


def parts_of(names: Sequence[str]) -> dict[str, str] | None:
    """What each name says, as text behind a day (`05:00`) or a year (`03`); None where one says nothing.

    The names are those of all parts of a day or a year, in order: 24 hours, 96 quarters, 12 months.
    """
    minutes = _minutes(names)
    if minutes is not None:
        return {name: f"{at // 60:02d}:{at % 60:02d}" for name, at in zip(names, minutes, strict=True)}
    if _are_months(names):
        return {name: f"{at + 1:02d}" for at, name in enumerate(names)}
    return None


def may_be_parts(names: Sequence[str]) -> str | None:
    """What to say of columns that may be the days of a row's week or month; None where none are."""
    week = [name for name in names if name.strip(" .").capitalize() in _WEEK]
    days = next((some for some in (names[at : at + 31] for at in range(len(names))) if _are_days(some)), [])
    found = week if len({name[:2].lower() for name in week}) == 7 else days
    if not found:
        return None
    told = "week" if found is week else "month"
    first, last = found[0], found[-1]
    return f"{first!r} to {last!r} may be days of a row's {told}: write a row for each to have one series"


def of_what(parts: dict[str, str]) -> str:
    """Whether parts are those of days or of years."""
    return DAYS if all(":" in part for part in parts.values()) else YEARS


def row_moment(frame: pd.DataFrame, names: Sequence[str], parts: dict[str, str]) -> str | None:
    """The column, or several as `A + B`, that says of which day or year a row is; None where none does.

    No two rows are then alike in all but what was measured, and a day ends about where the next begins.
    """
    others = frame.drop(columns=list(names))
    held = days_in(others) if of_what(parts) == DAYS else are_years(others)
    if held is None or _repeat(others):
        return None
    return held if of_what(parts) == YEARS or _is_spelled(names) or _runs_on(frame, names, held) else None


def _repeat(others: pd.DataFrame) -> bool:
    """Whether rows have all that names them in common with others, so that there are several of a day."""
    names = [name for name in others.columns if others[name].dtype.kind != "f"]
    return bool(others.duplicated(names).any())


def _runs_on(frame: pd.DataFrame, names: Sequence[str], held: str) -> bool:
    """Whether from the end of a day to the beginning of the next it is not much farther than within one."""
    by = [name for name in frame.columns if name not in names and frame[name].dtype.kind != "f"]
    keys = held.split(BETWEEN)
    ordered = frame.sort_values([*(name for name in by if name not in keys), *keys], kind="stable")
    values = ordered[list(names)].to_numpy(dtype=float)
    within = np.nanmedian(np.abs(np.diff(values, axis=1)))
    overnight = np.nanmedian(np.abs(values[1:, 0] - values[:-1, -1]))
    return bool(overnight <= _SMOOTH * within)


def _is_spelled(names: Sequence[str]) -> bool:
    """Whether names are times of day, which need no other sign that they are."""
    return any(all(form.fullmatch(name) for name in names) for form in (_CLOCK, _HALF, _FROM_TO))


def _minutes(names: Sequence[str]) -> list[int] | None:
    """Minutes since midnight that names of columns say, in even steps over a whole day; else None."""
    if len(names) not in _STEPS_OF_A_DAY:
        return None
    step = 1440 // len(names)
    for found in _readings(names, step):
        if found is not None and found[0] in (0, step) and set(np.diff(found).tolist()) == {step}:
            return found
    return None


def _readings(names: Sequence[str], step: int) -> Iterator[list[int] | None]:
    yield _each(names, _CLOCK, lambda hour, minute, half: 60 * _of_half(hour, half) + int(minute))
    yield _each(names, _HALF, lambda hour, half: 60 * _of_half(hour, half))
    yield _each(names, _FROM_TO, lambda hour, _: 60 * int(hour))
    yield _each(names, _PACKED, lambda hour, minute: 60 * int(hour) + int(minute))
    numbers = _numbers(names, _HOURS if len(names) == _STEPS_OF_A_DAY[0] else None)
    # the first of 1 to 24 is the hour that begins at midnight
    yield None if numbers is None else [step * (one - numbers[0]) for one in numbers]


def _each(names: Sequence[str], form: re.Pattern[str], minutes: Callable[..., int]) -> list[int] | None:
    found = [form.fullmatch(name) for name in names]
    return [minutes(*one.groups()) for one in found if one] if all(found) else None


def _of_half(hour: str, half: str | None) -> int:
    return int(hour) if half is None else int(hour) % 12 + 12 * (half in "pP")


def _numbers(names: Sequence[str], stems: Sequence[str] | None) -> list[int] | None:
    """The numbers of names that have all else in common, from 0 or 1 on; None where they are none."""
    found = [_NUMBERED.fullmatch(name) for name in names]
    stem = {one[1].strip(" _-.").lower() for one in found if one}
    numbers = [int(one[2]) for one in found if one]
    counts = numbers in (list(range(len(names))), list(range(1, len(names) + 1)))
    return numbers if counts and len(stem) == 1 and (stems is None or stem <= set(stems)) else None


def _are_days(names: Sequence[str]) -> bool:
    return len(names) == 31 and _numbers(names, ("", "d", "day")) == list(range(1, 32))


def _are_months(names: Sequence[str]) -> bool:
    """Whether names are the twelve months, from the first to the last."""
    if len(names) != 12:
        return False
    return [month(name.strip(" .")) for name in names] == list(range(1, 13)) or _numbers(
        names, _MONTHS
    ) == list(range(1, 13))
