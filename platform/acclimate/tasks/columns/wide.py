"""A table with a column for each task, read as one with a row for each task and time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from acclimate.errors import DataError
from acclimate.tasks.columns.words import TASK, words
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source
from acclimate.tasks.sources.around import PartAround
from acclimate.tasks.sources.parquet import repeated
from acclimate.tasks.sources.source import Part
from acclimate.tasks.sources.types import FILE, Column, is_number


@dataclass(frozen=True)
class LongPart(PartAround):
    """A part whose columns `tasks` become rows: `key` holds the column's name, `value` what stood in it."""

    tasks: tuple[str, ...]
    key: str
    value: str

    @property
    def columns(self) -> Mapping[str, Column]:
        own = {name: one for name, one in self.part.columns.items() if name not in self.tasks}
        return own | {self.key: Column(pa.string()), self.value: Column(pa.float64())}

    @property
    def rows(self) -> int:
        return self.part.rows * len(self._held)

    @property
    def width(self) -> int:
        return max(1, len(self._held))

    @property
    def _held(self) -> tuple[str, ...]:
        return tuple(name for name in self.tasks if name in self.part.columns)

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        shared = {name: type_ for name, type_ in types.items() if name not in (self.key, self.value)}
        wanted = self._held if self.value in types else self._held[:1]
        read = shared | {name: pa.float64() for name in wanted}
        for arrays in self.part.batches(read):
            rows = len(next(iter(arrays.values())))
            for task in self._held:
                long = {name: arrays[name] for name in shared}
                long |= {self.key: repeated(task, rows)} if self.key in types else {}
                long |= {self.value: arrays[task]} if self.value in types else {}
                yield long


def melted(source: Source, schema: RecordingSchema) -> Source:
    """`source` with a row for each task and time, if the schema calls it `wide`.

    Raises:
        DataError: no column fits the pattern, or one that does holds no numbers.
    """
    if schema.wide is None:
        return source
    kept = {name for name in schema.columns if name not in (schema.task, *schema.channels, *schema.targets)}
    return long_form(source, schema.wide, schema.task, schema.channels[0], kept)


def long_form(source: Source, pattern: str, key: str, value: str, kept: Set[str]) -> Source:
    """`source` with a row for each column that fits a pattern, its name in `key` and its content in `value`.

    Raises:
        DataError: no column fits the pattern, or one that does holds no numbers.
    """
    tasks = tuple(name for name in source.columns if fnmatchcase(name, pattern) and name not in kept)
    if not tasks:
        raise DataError(f"wide is {pattern!r}: no column is called so; there are {source.columns[:20]}")
    for name in tasks:
        if not is_number(source.types[name]) and not pa.types.is_null(source.types[name]):
            raise DataError(
                f"wide is {pattern!r}: column {name!r} holds {source.types[name]}, not numbers: choose a "
                "narrower pattern"
            )

    def open_parts() -> Sequence[Part]:
        return [LongPart(part, tasks, key, value) for part in source.parts]

    said = f"{len(tasks)} columns that fit {pattern!r} read as tasks, a row for each of their times"
    return Source(source.name, source.fingerprint, open_parts, (*source.said, said))


def wide_pattern(source: Source) -> str | None:
    """The pattern of the columns of a table that has one for each device; None where there seems none."""
    numbers = [name for name, type_ in source.types.items() if is_number(type_)]
    texts = [name for name in source.columns if name not in numbers and words(name) & set(TASK.split())]
    stems = Counter(re.sub(r"[0-9]+", "*", name) for name in numbers if re.search(r"[0-9]", name))
    if texts or not stems or FILE in source.columns:
        return None
    pattern, times = stems.most_common(1)[0]
    alike = times >= 4 and times >= 0.6 * len(numbers) and bool(words(pattern) & set(TASK.split()))
    return pattern if alike else None
