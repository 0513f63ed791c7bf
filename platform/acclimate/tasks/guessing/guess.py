"""A first guess of what the columns of unknown recordings mean, with the reason for each guess.

Only a sample is read. What is guessed is a declaration for `RecordingSchema.from_dict`, to be read and
corrected by a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import chain
from typing import Any

import pandas as pd
import pyarrow as pa

from acclimate.errors import DataError
from acclimate.nearest import did_you_mean
from acclimate.tasks.columns.composed import BETWEEN, calendar_columns, composed, day_and_hour, halves
from acclimate.tasks.columns.looks import is_text, refuse_unreadable_times
from acclimate.tasks.columns.readings import by_channel, find_readings
from acclimate.tasks.columns.sample import sample
from acclimate.tasks.columns.spelled import numbers_in
from acclimate.tasks.columns.unfolded import may_be_parts
from acclimate.tasks.columns.wide import WIDE_TIME, folded_columns, long_form, said_once, wide_columns
from acclimate.tasks.columns.words import TASK, words
from acclimate.tasks.guessing.guessed import Guess
from acclimate.tasks.guessing.guesser import Guesser
from acclimate.tasks.guessing.roles import ROLES
from acclimate.tasks.sources import Source
from acclimate.tasks.sources.types import FILE, NAME, is_number

__all__ = ["Guess", "guess"]

WIDE_TASK, WIDE_VALUE = "series", "value"
NOTHING = ("unavailable", "unknown", "offline", "error", "err", "invalid", "no data", "undefined")
"""Words of an entity that measured nothing all the time, as Home Assistant and loggers write them."""
LISTS = "holds lists: write a column for each channel and a row for each moment, or declare `image_shape`"


def guess(source: Source, given: Mapping[str, Any]) -> Guess:
    """Guess the declaration of `source`; what is `given` is kept.

    Args:
        given: columns by role (`ROLES`), and `kind`, `window`, `horizon`, `rate`, `wide`, `dates`.

    Raises:
        DataError: a given column is not there or has two roles, no column can be the task, or none can be a
            channel.
    """
    asked = source, given
    folded = folded_columns(source, given)
    if folded is not None:
        return _unfolded(source, given, *folded)
    wide = wide_columns(source, given)
    if wide is not None:
        pattern, role = wide
        kept = {str(given[key]) for key in ("time", "task") if key in given}
        key = WIDE_TIME if role == "time" else WIDE_TASK
        source = long_form(source, pattern, key, WIDE_VALUE, kept)
        given = {role: key, **given}
    named = {key: str(given[key]) for key in ROLES if key in given}
    source = composed(source, {key: named.get(key) for key in ("time", "task", "group", "recording")})
    for key, column in named.items():
        if column not in source.columns:
            hint = did_you_mean(column, source.columns, f"there are {', '.join(map(repr, source.columns))}")
            raise DataError(f"--{key} {column!r} is no column: {hint}")
        twice = [other for other in named if other != key and named[other] == column]
        if twice and {key, twice[0]} != {"task", "group"}:
            raise DataError(f"--{key} and --{twice[0]} both name {column!r}: a column has one role")
    sampled = sample(source, given.get("dates"))
    spelled = _numbers_in_text(sampled.frame, set(named.values()) - {str(given.get("target"))})
    found = [word for _, strange in spelled.values() for word in strange]
    if found and source.without is not None:
        guessed = _with_words(guess(source.without(found), given), spelled)
        _refuse_unlike_tasks(sampled.frame, guessed.declaration, spelled)
        return guessed
    for name, (numbers, _) in spelled.items():
        sampled.frame[name] = numbers
    dated = any(map(pd.api.types.is_datetime64_any_dtype, sampled.frame.dtypes))
    moment = None if "time" in given else _moment(sampled.frame, source, set(named.values()), dated)
    if moment is not None:
        told = f"{', '.join(moment.split(BETWEEN))} make one moment"
        return guess(asked[0], {**asked[1], "time": moment}).with_entry("time", moment, told)
    readings = (
        None
        if {"label", "target", "readings"} & set(given)
        else find_readings(sampled.frame, str(given["task"]) if "task" in given else None)
    )
    if readings is not None and dated and is_number(source.types[readings[1]]):
        *pair, channels = readings
        guessed = guess(by_channel(source, pair, channels), {**given, "readings": pair})
        return guessed.with_entry(
            "readings", pair, "the first names the channel of each row, a row a reading"
        )
    refuse_unreadable_times(source, sampled.frame, named.get("time"), given.get("dates"))
    guesser = Guesser(sampled, given)
    lists = (name for name, type_ in source.types.items() if pa.types.is_nested(type_))
    guesser.left_out |= dict.fromkeys(lists, LISTS)
    guessed = guesser.guess()
    days = may_be_parts(source.columns)
    if days is not None:
        channels = guessed.declaration["channels"]
        guessed = guessed.with_entry("channels", channels, f"{guessed.reasons['channels']}; {days}")
    if found:
        guessed = _with_words(guessed, spelled)
    if wide is not None:
        told = "as you said" if "wide" in given else "columns named alike, by devices or moments"
        guessed.declaration["wide"], guessed.reasons["wide"] = wide[0], told
    return guessed


def _unfolded(source: Source, given: Mapping[str, Any], pattern: str, time: str) -> Guess:
    """The guess where each row holds a day or a year of a device: a row for each hour or month."""
    *held, _ = time.split(BETWEEN)
    once = said_once(source, pattern, held)
    series = long_form(source, pattern, time, WIDE_VALUE, {*held, *once}, once)
    others = {name: one for name, one in given.items() if name != "wide"}
    guessed = guess(series, {**others, "time": time})
    told = f"columns named by the parts of each {', '.join(held)}; as channels of their own: --time {held[0]}"
    guessed = guessed.with_entry("time", time, "what a row holds and what a column is called, together")
    guessed = guessed.with_entry("wide", pattern, told)
    why = f"holds one value for all that a row holds of a {', '.join(held)}, and may tell what comes"
    return Guess(
        guessed.declaration, guessed.reasons, {**dict.fromkeys(sorted(once), why), **guessed.left_out}
    )


def _moment(frame: pd.DataFrame, source: Source, named: Set[str], dated: bool) -> str | None:
    """The name of the column that several make, none of them `named`, in a table with or without moments."""
    halved = (pa.types.is_string, pa.types.is_timestamp)
    texts = [name for name in frame.columns if any(is_(source.types[name]) for is_ in halved)]
    free = [name for name in texts if name not in named]
    found = halves(frame, free) or day_and_hour(frame, free)
    return found if found or dated else calendar_columns(frame, named)


def _numbers_in_text(frame: pd.DataFrame, named: Set[str]) -> dict[str, tuple[pd.Series, list[str]]]:
    """The columns of text that hold numbers, as numbers, each with the words in it."""
    texts = (name for name in frame.columns if is_text(frame[name]) and name not in named)
    unnamed = (name for name in texts if name not in (FILE, NAME) and not words(name) & set(TASK.split()))
    found = ((name, numbers_in(frame[name])) for name in unnamed)
    return {name: one for name, one in found if one is not None}


def _refuse_unlike_tasks(
    frame: pd.DataFrame, declaration: Mapping[str, Any], spelled: Mapping[str, tuple[pd.Series, list[str]]]
) -> None:
    """Refuse a column that holds numbers of some tasks and nothing but words of others.

    Nothing at all says nothing else, nor do words such as `unavailable`, or those among the numbers.

    Raises:
        DataError: there is one: what a door says is no temperature.
    """
    task = declaration["task"]
    for name, (numbers, strange) in spelled.items() if task in frame.columns else ():
        of_numbers = numbers.notna().groupby(frame[task], observed=True).any()
        text = frame[name].astype("string").str.strip()
        among = set(text[frame[task].isin(of_numbers.index[of_numbers])])
        says = text.isin([word for word in strange if word not in among and word.lower() not in NOTHING])
        of_words = says.groupby(frame[task], observed=True).any() & ~of_numbers
        if name in declaration["channels"] and of_numbers.any() and of_words.any():
            one, other = of_numbers.index[of_numbers][0], of_words.index[of_words][0]
            word = text[says & (frame[task] == other)].iloc[0]
            raise DataError(
                f"column {name!r} holds numbers of {one!r} and only words, such as {word!r}, of {other!r}: "
                "their rows say different things; keep tasks that say the same, or write device and quantity "
                "into two columns"
            )


def _with_words(guessed: Guess, spelled: Mapping[str, tuple[pd.Series, list[str]]]) -> Guess:
    """The guess with words among numbers as missing values, if their columns are used."""
    used = {*guessed.declaration["channels"], *guessed.declaration.get("targets", ())}
    strange = {name: found for name, (_, found) in spelled.items() if found and name in used}
    if not strange:
        return guessed
    absent = [*guessed.declaration.get("absent", ()), *dict.fromkeys(chain.from_iterable(strange.values()))]
    told = "; ".join(f"{', '.join(map(repr, found))} in {name!r}" for name, found in strange.items())
    return guessed.with_entry("absent", absent, f"stands among numbers where nothing was measured: {told}")
