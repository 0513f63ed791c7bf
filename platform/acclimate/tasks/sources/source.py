"""A re-readable table of one or many parts, with one schema."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import pyarrow as pa

from acclimate.errors import DataError, StoreError
from acclimate.object_store import reaching
from acclimate.tasks.sources.types import Column, Unfit, unified

BATCH_ROWS = 1 << 17
DAMAGED = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError),
    *(StoreError, pa.ArrowException),
)
"""What reading a file raises that is cut short, damaged, locked by a password or gone."""


class Part(Protocol):
    """One file, or one table in memory."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, Column]: ...

    @property
    def rows(self) -> int: ...

    @property
    def width(self) -> int:
        """Batches that say the same rows: above 1 where columns of a row became rows."""

    @property
    def notes(self) -> Sequence[str]:
        """What was detected about it that a person should know."""

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Arrow arrays by column, cast to `types`, a batch at a time; every name is a column of this part.

        Raises:
            Unfit: a value has no place in its type.
            OSError, pyarrow.ArrowException: the part is damaged or vanished.
        """


@dataclass(frozen=True)
class Batch:
    """Some rows of one part.

    Attributes:
        arrays: Arrow arrays of equal length by column.
        part: name of the file.
        first_row: rows of the part before this batch.
    """

    arrays: Mapping[str, Any]
    num_rows: int
    part: str
    first_row: int

    def column(self, name: str) -> Any:
        return self.arrays[name]

    def where(self, index: int) -> str:
        """The place of a row for messages; rows count from 1, a header is none."""
        return f"{self.part}, row {self.first_row + index + 1}"


@dataclass(frozen=True)
class Source:
    """A re-readable table.

    Attributes:
        name: how messages call it.
        fingerprint: equal for equal content; for files of their paths, sizes and modification marks.
        open: makes its parts; called only if it must be read.
        said: what was noticed while its parts were looked for.
        without: the same source with further words for missing values; None where cells are no text.
    """

    name: str
    fingerprint: str
    open: Callable[[], Sequence[Part]]
    said: tuple[str, ...] = ()
    without: Callable[[Sequence[str]], Source] | None = None

    @cached_property
    def parts(self) -> Sequence[Part]:
        with self._reading():
            return self.open()

    @cached_property
    def _unified(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        with self._reading():  # the first look at a part opens its file
            return unified([(part.name, part.columns, part.rows) for part in self.parts])

    def only(self, names: frozenset[str] | None) -> Source:
        """The parts of some names, with the types that all parts agree on; None: all."""
        wanted = [part for part in self.parts if names is None or part.name in names]
        made = Source(self.name, self.fingerprint, partial(list, wanted), self.said)
        made.__dict__["_unified"] = self._unified  # a cached property: the types are not found anew
        return made

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with reaching(self.name):
                yield
        except DAMAGED as error:
            raise DataError(f"{self.name}: cannot be read ({error})") from error

    @property
    def types(self) -> dict[str, Any]:
        """The one Arrow type of each column, in the order of first appearance."""
        return self._unified[0]

    @property
    def columns(self) -> list[str]:
        return list(self.types)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was detected, promoted or not read, a line each."""
        found = [note for part in self.parts for note in part.notes]
        return (*self.said, *_counted(found), *self._unified[1])

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Batches of `columns`, in the order of the parts and rows; a part without a column has nulls there.

        Raises:
            DataError: a file is damaged or vanished, or holds what its column cannot.
        """
        types = {name: self.types[name] for name in columns}
        for part in self.parts:
            present = {name: type_ for name, type_ in types.items() if name in part.columns}
            seen = 0
            try:
                with reaching(self.name):
                    for number, arrays in enumerate(
                        part.batches(present) if present else _empty(part.rows), 1
                    ):
                        rows = len(next(iter(arrays.values())))
                        absent = {name: pa.nulls(rows, types[name]) for name in types if name not in present}
                        yield Batch({**arrays, **absent}, rows, part.name, seen)
                        seen += rows if number % part.width == 0 else 0
            except Unfit as unfit:
                raise DataError(
                    f"{part.name}, row {seen + unfit.index + 1}: column {unfit.column!r} holds "
                    f"{unfit.value!r}, which is not {unfit.wanted}: {unfit.remedy}"
                ) from None
            except DAMAGED as error:
                raise DataError(f"{part.name}: cannot be read ({error})") from error


def _empty(rows: int) -> Iterator[Mapping[str, Any]]:
    """As many rows of nothing, for a part that has none of the columns."""
    for begin in range(0, rows, BATCH_ROWS):
        yield {"": pa.nulls(min(BATCH_ROWS, rows - begin))}


def _counted(notes: Sequence[str]) -> Iterator[str]:
    """Each note once; one that many parts give says how many."""
    for note in dict.fromkeys(notes):
        times = notes.count(note)
        yield f"{note} (in {times} files)" if times > 1 else note
