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
from acclimate.tasks.columns.sample import sample
from acclimate.tasks.columns.words import TASK, words
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source
from acclimate.tasks.sources.around import PartAround
from acclimate.tasks.sources.parquet import repeated
from acclimate.tasks.sources.source import Part
from acclimate.tasks.sources.types import FILE, PLACES, Column, is_number


@dataclass(frozen=True)
class LongPart(PartAround):
    """A part of which columns become rows: `key` holds the column's name, `value` what stood in it."""

    wide: tuple[str, ...]
    key: str
    value: str

    @property
    def columns(self) -> Mapping[str, Column]:
        own = {name: one for name, one in self.part.columns.items() if name not in self.wide}
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
                long |= {self.key: repeated(column, rows)} if self.key in types else {}
                long |= {self.value: arrays[column]} if self.value in types else {}
                yield long


def melted(source: Source, schema: RecordingSchema) -> Source:
    """`source` with a row for each task and time, if the schema calls it `wide`.

    Raises:
        DataError: no column fits the pattern, or one that does holds no numbers.
    """
    if schema.wide is None:
        return source
    kept = {name for name in schema.columns if name not in (schema.task, *schema.channels, *schema.targets)}
    key = schema.task
    if schema.time is not None and schema.task in source.columns and schema.time not in source.columns:
        key, kept = schema.time, {*kept, schema.task}
    return long_form(source, schema.wide, key, schema.channels[0], kept)


def long_form(source: Source, pattern: str, key: str, value: str, kept: Set[str]) -> Source:
    """`source` with a row for each column that fits a pattern, its name in `key` and its content in `value`.

    Raises:
        DataError: no column fits the pattern, or one that does holds no numbers.
    """
    wide = fitting(source, pattern, kept)
    if not wide:
        raise DataError(f"wide is {pattern!r}: no column is called so; there are {source.columns[:20]}")
    for name in wide:
        if not is_number(source.types[name]) and not pa.types.is_null(source.types[name]):
            raise DataError(
                f"wide is {pattern!r}: column {name!r} holds {source.types[name]}, not numbers: choose a "
                "narrower pattern"
            )

    def open_parts() -> Sequence[Part]:
        return [LongPart(part, wide, key, value) for part in source.parts]

    said = f"{len(wide)} columns that fit {pattern!r} read as rows, with what they are called in {key!r}"
    return Source(source.name, source.fingerprint, open_parts, (*source.said, said))


def fitting(source: Source, pattern: str, kept: Set[str]) -> tuple[str, ...]:
    """The columns that fit a pattern."""
    return tuple(name for name in source.columns if fnmatchcase(name, pattern) and name not in kept)


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
    if times < 4 or times < 0.6 * len(numbers):
        return None
    if "time" not in given and _are_moments(source, [name for name in numbers if _stem(name) == pattern]):
        alike = (one for one in (pattern, "[0-9]*") if _fits_only(source, one, pattern))
        return next(((one, "time") for one in alike), None)
    named = any(words(name) & set(TASK.split()) for name in source.columns if name not in numbers)
    of_devices = not named and FILE not in source.columns and bool(words(pattern) & set(TASK.split()))
    return (pattern, "task") if of_devices else None


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
