"""A table with a column for each task, or for each moment, read as one with a row for each task and time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd
import pyarrow as pa

from acclimate.errors import DataError
from acclimate.tasks.columns.clock import guess_clock
from acclimate.tasks.columns.composed import BETWEEN
from acclimate.tasks.columns.looks import is_float
from acclimate.tasks.columns.patterns import month
from acclimate.tasks.columns.sample import sample
from acclimate.tasks.columns.unfolded import parts_of, row_moment
from acclimate.tasks.columns.words import IN_NAMES, LABEL, TARGET, TASK, names_one, words
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source
from acclimate.tasks.sources.around import PartAround
from acclimate.tasks.sources.parquet import repeated
from acclimate.tasks.sources.source import Part
from acclimate.tasks.sources.types import FILE, PLACES, Column, is_number

WIDE_TIME = "moment"
_FEWEST = 4
"""Columns named alike from which on each may be a device or a moment."""
_HALF = re.compile("(?<=[0-9 ])[AaPp][Mm]")


@dataclass(frozen=True)
class LongPart(PartAround):
    """A part of which columns become rows: `key` holds what `wide` says of the column, `value` what stood in
    it."""

    wide: Mapping[str, str]
    key: str
    value: str
    hidden: Set[str] = frozenset()

    @property
    def columns(self) -> Mapping[str, Column]:
        told = {*self.wide, *self.hidden}
        own = {name: one for name, one in self.part.columns.items() if name not in told}
        return own | {self.key: Column(pa.string()), self.value: Column(pa.float64())}

    @property
    def rows(self) -> int:
        return self.part.rows * len(self._held)

    @property
    def width(self) -> int:
        return max(1, len(self._held))

    @property
    def _held(self) -> tuple[str, ...]:
        return tuple(name for name in self.wide if name in self.part.columns)

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        shared = {name: type_ for name, type_ in types.items() if name not in (self.key, self.value)}
        wanted = self._held if self.value in types else self._held[:1]
        read = shared | {name: pa.float64() for name in wanted}
        for arrays in self.part.batches(read):
            rows = len(next(iter(arrays.values())))
            for column in self._held:
                long = {name: arrays[name] for name in shared}
                long |= {self.key: repeated(self.wide[column], rows)} if self.key in types else {}
                long |= {self.value: arrays[column]} if self.value in types else {}
                yield long


def melted(source: Source, schema: RecordingSchema) -> Source:
    """`source` with a row for each task and time, if the schema calls it `wide`.

    Raises:
        DataError: no column fits the pattern, or one that does holds no numbers.
    """
    if schema.wide is None:
        return source
    others = (name for name in schema.columns if name not in (schema.task, *schema.channels, *schema.targets))
    kept = {part for name in others for part in name.split(BETWEEN)} & {*source.columns}
    key, own = schema.task, {*schema.task.split(BETWEEN)}
    if schema.time is not None and own <= {*source.columns} and schema.time not in source.columns:
        key, kept = schema.time, {*kept, *own}
    value = schema.readings[1] if schema.readings else schema.channels[0]
    return long_form(source, schema.wide, key, value, {*kept, *schema.readings[:1]})


def long_form(
    source: Source, pattern: str, key: str, value: str, kept: Set[str], hidden: Set[str] = frozenset()
) -> Source:
    """`source` with a row for each column that fits a pattern, its name in `key` and its content in `value`.

    Of a `key` such as `date + moment` only `moment` is made, of the part of a day or year that a name says.

    Args:
        kept: columns that stay, though the pattern fits them.
        hidden: columns that go.

    Raises:
        DataError: no column fits the pattern, or one that does holds no numbers, or says no part of a day.
    """
    *held, key = key.split(BETWEEN)
    names = fitting(source, pattern, kept)
    wide = (
        (parts_of(names) or {})
        if held and held[0] in source.columns
        else dict(zip(names, names, strict=True))
    )
    if names and not wide:
        raise DataError(
            f"wide is {pattern!r}, and its {len(names)} columns are not all hours of a day or months of a "
            f"year, as time {BETWEEN.join([*held, key])!r} takes: choose another pattern, or write a row for "
            "each moment"
        )
    if not wide:
        raise DataError(f"wide is {pattern!r}: no column is called so; there are {source.columns[:20]}")
    for name in wide:
        if not is_number(source.types[name]) and not pa.types.is_null(source.types[name]):
            raise DataError(
                f"wide is {pattern!r}: column {name!r} holds {source.types[name]}, not numbers: choose a "
                "narrower pattern"
            )

    def open_parts() -> Sequence[Part]:
        return [LongPart(part, wide, key, value, hidden) for part in source.parts]

    said = f"{len(wide)} columns that fit {pattern!r} read as rows, with what they are called in {key!r}"
    return Source(source.name, source.fingerprint, open_parts, (*source.said, said))


def fitting(source: Source, pattern: str, kept: Set[str]) -> tuple[str, ...]:
    """The columns that fit a pattern, or one of several between bars."""
    patterns = (pattern, *pattern.split("|"))
    fits = (name for name in source.columns if any(name == one or fnmatchcase(name, one) for one in patterns))
    return tuple(name for name in fits if name not in kept)


def folded_columns(source: Source, given: Mapping[str, Any]) -> tuple[str, str] | None:
    """The pattern of the columns that are hours of a day or months of a year, and the time that they make.

    None where the table has none, where a person said what orders its rows, or where a row has a label.
    """
    time = str(given.get("time"))
    if "wide" in given and BETWEEN in time and time.split(BETWEEN)[-1] not in source.columns:
        return str(given["wide"]), time
    if {"time", "label", "target", "wide"} & {*given}:
        return None
    numbers = [name for name, type_ in source.types.items() if is_number(type_)]
    for names in _alike(numbers):
        parts = parts_of(names)
        frame = sample(source).frame if parts is not None else pd.DataFrame()
        answers = (
            name for name in frame if name not in names and words(name) & {*f"{LABEL} {TARGET}".split()}
        )
        held = row_moment(frame, names, parts) if parts is not None and not any(answers) else None
        if held is not None:
            pattern = next(
                (one for one in (_stem(names[0]), "[0-9]*") if fitting(source, one, set()) == names), ""
            )
            return pattern or "|".join(names), held + BETWEEN + WIDE_TIME
    return None


def said_once(source: Source, pattern: str, held: Sequence[str]) -> set[str]:
    """The other numbers, such as totals of days, that no row needs to be told from others."""
    names = fitting(source, pattern, set())
    others = sample(source).frame.drop(columns=list(names))
    fractions = {name for name in others if is_float(others[name])}
    keys = others.drop(columns=list(fractions))
    whole = [name for name in keys if keys[name].dtype.kind in "iub" and name not in held]
    free = (name for name in whole if not names_one(name, TASK.split()))
    return fractions | {name for name in free if not keys.drop(columns=name).duplicated().any()}


def _alike(numbers: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Columns whose names differ in numbers alone, or are all that months are called."""
    stems: dict[str, list[str]] = {}
    for name in numbers:
        stems.setdefault("month" if month(name.strip(" .")) else _stem(_HALF.sub("*", name)), []).append(name)
    yield from (tuple(names) for names in stems.values())


def wide_columns(source: Source, given: Mapping[str, Any]) -> tuple[str, str] | None:
    """The pattern of columns that are to be rows, and the role of what they are called: `task` or `time`.

    None where the table has none, and nobody said so.
    """
    kept = {str(given[key]) for key in ("time", "task") if key in given}
    if "wide" in given:
        pattern = str(given["wide"])
        names = fitting(source, pattern, kept)
        told = str(given.get("task")) in source.columns or any(
            words(one) & set(TASK.split()) or pa.types.is_string(source.types[one])
            for one in {*source.columns} - {*names, *PLACES}
        )
        return pattern, "time" if told and "time" not in given and _are_moments(source, names) else "task"
    numbers = [name for name, type_ in source.types.items() if is_number(type_) and name not in kept]
    stems = Counter(_stem(name) for name in numbers if re.search(r"[0-9]", name))
    pattern, times = next(iter(stems.most_common(1)), ("", 0))
    mostly = times >= 0.6 * len(numbers)
    if times < _FEWEST or not (mostly or sum(stems.values()) == len(numbers)):
        return None
    if (
        mostly
        and "time" not in given
        and _are_moments(source, [name for name in numbers if _stem(name) == pattern])
    ):
        fits = (one for one in (pattern, "[0-9]*") if _fits_only(source, one, pattern))
        return next(((one, "time") for one in fits), None)
    if any(words(name) & set(TASK.split()) for name in source.columns if name not in numbers):
        return None
    devices = set(f"{TASK} {IN_NAMES}".split())
    families = [stem for stem, count in stems.items() if count >= _FEWEST and words(stem) & devices]
    whole = sum(stems[stem] for stem in families) == len(numbers)
    if FILE in source.columns or pattern not in families or not (whole or words(pattern) & set(TASK.split())):
        return None
    return "|".join(families) if whole else pattern, "task"


def _stem(name: str) -> str:
    return re.sub(r"[0-9]+", "*", name)


def _fits_only(source: Source, pattern: str, stem: str) -> bool:
    """Whether a pattern fits no column but those of one stem."""
    return all(_stem(name) == stem for name in source.columns if fnmatchcase(name, pattern))


def _are_moments(source: Source, names: Sequence[str]) -> bool:
    """Whether columns are called by when their values were measured.

    The others then hold no moments, and are not alike in two rows, each of which is of another device.
    """
    clock = guess_clock("moment", pa.array(names, pa.string()), None) if names else None
    if clock is None or not clock.dated:
        return False
    others = sample(source).frame.drop(columns=list(names))
    dated = any(map(pd.api.types.is_datetime64_any_dtype, others.dtypes))
    return not dated and (others.empty or not others.duplicated().any())
