"""What a column of unknown recordings looks like."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from acclimate.errors import DataError
from acclimate.tasks.columns.clock import ClockReader
from acclimate.tasks.columns.sample import stamps_of
from acclimate.tasks.columns.words import PARTS, QUANTITIES, QUANTITY, READING, SENSORS, TASK, TIME, words
from acclimate.tasks.sources import Source

_MOMENT = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d\d|^\d{6,}[^\dA-Za-z]|\d{8}T"
_DATE_AND_TIME = r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T]+\d{1,2}:\d\d"
"""What is so written is a time, whatever its column is called."""
_POINTS = "N Nne Ne Ene E Ese Se Sse S Ssw Sw Wsw W Wnw Nw Nnw"
_CALENDAR = [
    {one[:length] for one in names for length in (3, 4, 5, None)}
    for names in (
        calendar.day_name,
        calendar.month_name[1:],
        ("Winter", "Spring", "Summer", "Autumn", "Fall"),
    )
]
"""Also cut, each at its own length, such as `Tues` and `Thurs`."""
_UNSURE = {"bad", "uncertain", "questionable", "doubtful", "substituted", "stale", "invalid", "suspect"}
_RATINGS = _UNSURE | {"good", "valid"}
MOST_CODES = 12
"""Whole numbers that are classes, at most, where no name says that they are."""
_RATED = frozenset(["quality", "qual", "validity", "status", "opc"])
_OF_A_DAY = (24, 48, 96, 144, 288, 1440, 86_400)
_NUMBER_FIRST = r"\s*[-+]?\d+([.,]\d+)*\s*\S{0,12}\s*"


def is_text(values: pd.Series) -> bool:
    """Whether it holds text or categories."""
    return bool(
        pd.api.types.is_object_dtype(values)
        or pd.api.types.is_string_dtype(values)
        or isinstance(values.dtype, pd.CategoricalDtype)
    )


def is_float(values: pd.Series) -> bool:
    """Whether it holds numbers with fractions; whole numbers stored as floats are codes."""
    return bool(pd.api.types.is_float_dtype(values) and (values.dropna() % 1 != 0).any())


def is_dated(files: pd.Series) -> bool:
    """Whether files are named by days: each then holds all devices of one."""
    return bool(files.astype(str).str.contains(r"(?:19|20)\d\d[-_]?[01]\d[-_]?[0-3]\d").all())


def are_numbered(names: pd.Series) -> bool:
    """Whether most names hold a number, as those of devices do and those of classes do not."""
    return bool(names.drop_duplicates().astype(str).str.contains("[0-9]").mean() > 0.5)


def are_of_one_thing(names: pd.Series) -> bool:
    """Whether folders or files are called by the sensors, quantities or sides of one device."""
    known = names.drop_duplicates().astype(str)
    return all(words(name) & set(f"{QUANTITIES} {SENSORS}".split()) for name in known)


def are_parts(names: pd.Series) -> bool:
    """Whether folders or files are the parts of an experiment, such as `train` and `test`."""
    return set(names.astype(str).str.lower()) <= set(PARTS.split())


def why_no_number(values: pd.Series) -> str:
    """Why a column is no input channel, in words, with an example of what it holds."""
    if is_text(values):
        first = next(iter(values.dropna()), None)
        if first is None:
            return "holds nothing"
        if isinstance(first, list | tuple | np.ndarray | dict):
            return "holds lists, not numbers"
        if str(first).lstrip().startswith(("{", "eyJ")):  # `{"` in Base64
            return "holds JSON as text: write its fields as columns of their own"
        told = f"holds text such as {first!r}, not numbers"
        texts = values.dropna().astype(str)
        if texts.str.fullmatch(r"[-+]?\d{16,}").any() and texts.str.fullmatch(r"[-+]?\d+").all():
            return f"holds whole numbers that no float64 keeps, such as {first!r}"
        numbers = texts.str.fullmatch(_NUMBER_FIRST)
        if numbers.mean() > 0.5 and not numbers.all():
            return f"holds text such as {texts[~numbers].iloc[0]!r} among numbers"
        return told + (": write bare numbers to use it" if len(numbers) and numbers.mean() > 0.5 else "")
    if pd.api.types.is_datetime64_any_dtype(values):
        return "holds moments, not numbers"
    return f"holds {values.dtype}, not numbers"


def says_direction_or_day(values: pd.Series) -> bool:
    """Whether text is a point of the compass, a weekday, month or season, which are no classes to tell."""
    said = set(values.dropna().astype(str).str.strip().str.capitalize())
    return any(said <= some for some in ({*_POINTS.split()}, *_CALENDAR)) and not said <= {*"NESW"}


def rates(values: pd.Series) -> bool:
    """Whether text says of each value of another column how good it is, as historians do."""
    said = set(values.dropna().astype(str).str.strip().str.lower()) if is_text(values) else set()
    return "good" in said and said <= _RATINGS and bool(words(values.name) & _RATED)


def follows_the_week(values: pd.Series, moments: pd.Series) -> bool:
    """Whether a column is the same at one time of the week in every week, as a tariff is."""
    of_week = moments.dt.day_of_week * 1440 + moments.dt.hour * 60 + moments.dt.minute
    if moments.dt.normalize().groupby(of_week).nunique().median() < 2:
        return False
    return not varies(values, of_week)


def numbers_a_day(values: pd.Series) -> bool:
    """Whether whole numbers run through the hours, quarters, minutes or seconds of a day in even steps."""
    if not pd.api.types.is_integer_dtype(values):
        return False
    found = np.sort(values.unique())
    steps = np.unique(np.diff(found))
    return len(steps) == 1 and len(found) * steps[0] in _OF_A_DAY and len(found) >= 24


def counts_rows(values: pd.Series, tasks: pd.Series | None = None) -> bool:
    """Whether whole numbers rise by the same step nearly everywhere, as the number of a sample does.

    Args:
        tasks: whose rows they are, if steps within each of them count, as of the years of a panel.
    """
    if not pd.api.types.is_integer_dtype(values):
        return False
    steps = values.diff() if tasks is None else values.groupby(tasks, observed=True).diff()
    known = steps.dropna().to_numpy()
    usual = np.median(known) if len(known) else 0
    return bool(usual > 0 and (known == usual).mean() > 0.95)


def permutes(values: pd.Series) -> bool:
    """Whether whole numbers are those of a stretch, each once, and shuffled.

    From one to the next of N shuffled numbers it is N / 3 on average; what is measured goes in smaller steps.
    """
    if not values.is_unique or int(values.max()) - int(values.min()) + 1 != len(values):
        return False
    return bool(values.diff().abs().mean() > len(values) / 4)


def mostly_rises(values: pd.Series, tasks: pd.Series) -> bool:
    """Whether numbers rise from row to row of a task more often than chance has them rise."""
    return bool((values.groupby(tasks, observed=True).diff().dropna() > 0).mean() > 0.75)


def varies(values: pd.Series, within: pd.Series) -> bool:
    """Whether a column has several values where another has one: where it has not, that one tells it."""
    return bool((values.groupby(within, observed=True).nunique() > 1).any())


def counts_down(target: str, tasks: Sequence[pd.DataFrame]) -> float | None:
    """By what a number falls at nearly every row, after a stretch without steps; None where it does not.

    Remaining life is such a number, also where it is held at a highest value.
    """
    steps = [np.diff(one[target].dropna().to_numpy(dtype=float)) for one in tasks if len(one) > 8]
    fallen = [one[np.flatnonzero(one)[0] :] for one in steps if one.any()]
    if not fallen or 2 * len(fallen) < len(tasks):
        return None
    usual = float(np.median(np.concatenate(fallen)))
    alike = np.mean(np.abs(np.concatenate(fallen) - usual) <= 0.02 * abs(usual))  # hours are rounded
    return -usual if usual < 0 and alike > 0.95 else None


def only_codes(frame: pd.DataFrame, columns: Sequence[str], task: str) -> str | None:
    """The one column of few whole numbers beside fractions, such as classes, that differs in every task."""
    numbers = [one for one in columns if pd.api.types.is_integer_dtype(frame[one])]
    if len(numbers) != 1 or sum(is_float(frame[one]) for one in columns) < 2:
        return None
    codes = sorted(frame[numbers[0]].unique())
    counted = codes[0] in (0, 1) and codes == list(range(codes[0], codes[0] + len(codes)))
    varied = bool((frame.groupby(task, observed=True)[numbers[0]].nunique() > 1).all())
    return numbers[0] if counted and 3 <= len(codes) <= MOST_CODES and varied else None


def starts_again(channel: str, tasks: Sequence[pd.DataFrame]) -> bool:
    """A counter that wraps or was reset: whole numbers that rise, and fall seldom, and then far."""
    known = [one[channel].dropna().to_numpy(dtype=float) for one in tasks if len(one) > 20]
    if not all((one % 1 == 0).all() for one in known):
        return False
    steps = [np.diff(one) for one in known]
    every = np.concatenate(steps) if steps else np.zeros(0)
    falls, rises = every[every < 0], every[every > 0]
    if len(falls) == 0 or len(rises) < 0.1 * len(every) or len(falls) > 0.05 * len(every):
        return False
    return bool(-falls.max() > 20 * np.median(rises) and -falls.max() > 0.5 * -falls.min())


def only_rises(channel: str, tasks: Sequence[pd.DataFrame]) -> bool:
    """A counter: it never falls, in no task, and rises often."""
    steps = [np.diff(one[channel].dropna().to_numpy(dtype=float)) for one in tasks if len(one) > 20]
    return bool(steps) and all(len(one) > 10 and (one >= 0).all() and (one > 0).mean() > 0.1 for one in steps)


def refuse_unreadable_times(source: Source, frame: pd.DataFrame, said: str | None, dates: str | None) -> None:
    """What a sample's names and values show to be times is read as times, or refused by file and row.

    Without one, rows would keep the order of the file, and nobody would know.

    Args:
        said: the column that a person named; None: none.
        dates: what comes first in dates, if a person said it.

    Raises:
        DataError: a column of moments holds something else too, or can be read in two ways.
    """
    given = [said] if said is not None and is_text(frame[said]) else []
    if said is None and not any(pd.api.types.is_datetime64_any_dtype(frame[name]) for name in frame.columns):
        for name in filter(lambda name: is_text(frame[name]), frame.columns):
            texts = frame[name].dropna().astype(str)
            named = bool(words(name) & set(TIME.split())) and texts.str.contains(_MOMENT).mean() >= 0.5
            given += [name] if named or texts.str.match(_DATE_AND_TIME).mean() > 0.95 else []
    for name in given:
        reader = ClockReader(name, dates=dates)
        for batch in source.batches([name]):
            reader.see(batch.column(name), batch.where)
        clock = reader.clock()
        if clock.dated:
            frame[name] = stamps_of(clock, pa.array(frame[name], pa.string()))


def refuse_readings(frame: pd.DataFrame, free: Sequence[str]) -> None:
    """A table with a row for each reading: one column names what another holds.

    Raises:
        DataError: it is one.
    """
    numbers = [name for name in free if pd.api.types.is_numeric_dtype(frame[name])]
    values = [name for name in numbers if words(name) & set(READING.split())]
    names = [name for name in free if is_text(frame[name]) and words(name) & set(QUANTITY.split())]
    if len(values) == 1 and len(names) == 1 and 2 <= frame[names[0]].nunique() <= 200:
        raise DataError(
            f"column {names[0]!r} names what column {values[0]!r} holds, a row for each reading: write a "
            f"column for each of {', '.join(map(repr, frame[names[0]].unique()[:4]))}, one row a "
            f"moment (a pivot); or say what is predicted, with --label {names[0]}"
        )


def name_quantities(names: pd.Series) -> bool:
    """Whether each of several names is that of another quantity, such as temperature and humidity."""
    known = names.dropna().astype(str).unique()
    said = [words(name) & set(QUANTITIES.split()) for name in known[: len(QUANTITIES.split()) + 1]]
    return len(said) > 1 and all(said) and len(set().union(*said)) == sum(map(len, said))


def refuse_quantities(names: pd.Series) -> None:
    """Refuse to take what is measured for who measures it.

    Raises:
        DataError: every name is that of another quantity, as of the channels of one device, and the column is
            not called as devices are.
    """
    called = words(names.name) & set(TASK.split()) - set(QUANTITY.split())
    if not called and name_quantities(names):
        known = names.dropna().astype(str).unique()
        raise DataError(
            f"column {names.name!r} names quantities ({', '.join(map(repr, known[:4]))}) and no devices, so "
            "all rows are of one device: add a column that names the device, or give a folder with a file "
            f"for each; if each is a device, say --task {names.name}"
        )


def no_task(frame: pd.DataFrame, named: Iterator[str]) -> str:
    """What to say where no column can be the device."""
    one = next((name for name in named if frame[name].nunique() == 1), None)
    if one is not None:
        return (
            f"column {one!r} holds one device, {str(frame[one].iloc[0])!r}: a start is learned over several, "
            "and judged on others; add recordings of more devices, or name another column with --task"
        )
    told = (
        "no column looks like a device, person or site, and each of them is one task: name it with --task; "
        f"there are {', '.join(map(repr, frame.columns[:30]))}"
    )
    if all(re.fullmatch("column [0-9]+|file|folder", name) for name in frame.columns):
        return (
            "there is no header, and no column looks like a device, person or site: write one, or name a "
            "column by its place, such as --task 'column 1'"
        )
    numbers = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    moments = [name for name in numbers if re.fullmatch(r"(19|20)\d\d([-/.]?\d\d){0,2}", name)]
    if len(moments) > 2:
        return (
            f"{told}; {moments[0]!r}, {moments[1]!r}, ... are moments: write a row for each device and "
            "moment, the value in one column (a melt)"
        )
    others = [name for name in frame.columns if name not in numbers]
    stems = Counter(name.rstrip("0123456789") for name in numbers)
    families = [stem for stem, count in stems.items() if stem and count > 2]
    if len(families) > 1 and sum(stems[stem] for stem in families) == len(numbers):
        pattern = "|".join(f"{stem}*" for stem in families)
        return f"{told}; if each of {len(numbers)} columns is a device, say --wide {pattern!r}"
    stem, times = stems.most_common(1)[0] if stems else ("", 0)
    if times > 2 and stem:
        return f"{told}; if each of {times} columns is a device, say --wide {stem + '*'!r}"
    ending = _ending(numbers).lstrip("0123456789")
    if len(numbers) > 2 and len(ending) > 2:
        return f"{told}; if each of {len(numbers)} columns is a device, say --wide {'*' + ending!r}"
    if len(numbers) > 2 and len(others) == 1 and pd.api.types.is_datetime64_any_dtype(frame[others[0]]):
        return f"{told}; if each but the time is a device, say --wide '*' --time {others[0]!r}"
    texts = (name for name in others if is_text(frame[name]) and not words(name) & set(TIME.split()))
    names = (name for name in texts if not says_direction_or_day(frame[name]))
    name = next((one for one in names if 2 < frame[one].nunique() <= len(frame) / 2), None)
    if name is not None:
        return f"{told}; if {name!r} with its {frame[name].nunique()} values names them, say --task {name!r}"
    return f"{told}; if all rows are of one device, add recordings of others: a start is learned over several"


def _ending(names: Sequence[str]) -> str:
    """What all names end with."""
    first = names[0] if names else ""
    return next(
        (first[at:] for at in range(len(first)) if all(one.endswith(first[at:]) for one in names)), ""
    )
