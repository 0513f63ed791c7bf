"""One CSV or TSV file: a first pass finds what its columns hold, later ones stream them as that."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.csv as pv

from acclimate.errors import DataError
from acclimate.tasks.sources.dialect import HEAD_BYTES, SPOKEN, Dialect, detect
from acclimate.tasks.sources.parquet import overruled, repeated, stated
from acclimate.tasks.sources.text import Reading, typed
from acclimate.tasks.sources.types import Column

BLOCK_BYTES = 1 << 23


@dataclass(frozen=True)
class _Scan:
    dialect: Dialect
    readings: Mapping[str, Reading]
    rows: int


@dataclass(frozen=True)
class DelimitedPart:
    """A file, and the columns that its place gives every row as text.

    Raises:
        DataError: it is not a table as text; from any property.
    """

    name: str
    open: Callable[[], Any]
    given: Mapping[str, str | None] = field(default_factory=dict)
    width: ClassVar[int] = 1

    @cached_property
    def _scan(self) -> _Scan:
        with self.open() as file:
            head = file.read(HEAD_BYTES)
            whole = not file.read(1)
        dialect = detect(self.name, head, whole)
        try:
            return self._scanned(dialect)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if dialect.encoding != "utf-8" or not _is_encoding(error):
                raise DataError(f"{self.name}: {_spoken(error)}") from error
        dialect = detect(self.name, head, whole, "cp1252")
        try:
            return self._scanned(dialect)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.name}: is text neither in UTF-8 nor in cp1252 ({error}): save it as UTF-8"
            ) from error

    def _scanned(self, dialect: Dialect) -> _Scan:
        readings = {name: Reading(may_have_commas=dialect.delimiter != ",") for name in dialect.names}
        rows = 0
        for batch in self._strings(dialect, dialect.names):
            rows += batch.num_rows
            for name, reading in readings.items():
                reading.see(batch.column(name))
        return _Scan(dialect, readings, rows)

    def _strings(self, dialect: Dialect, names: Sequence[str]) -> Iterator[Any]:
        """Batches of every cell as it is written."""
        if not dialect.names:
            return
        with self.open() as file:
            options = pv.ReadOptions(
                column_names=list(dialect.names),
                skip_rows=dialect.skipped,
                encoding=dialect.encoding,
                block_size=BLOCK_BYTES,
                use_threads=False,
            )
            reader = pv.open_csv(
                io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file,
                read_options=options,
                parse_options=pv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
                convert_options=pv.ConvertOptions(
                    column_types=dict.fromkeys(dialect.names, pa.string()),
                    include_columns=list(names),
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                if batch.num_rows:
                    yield batch

    @cached_property
    def columns(self) -> dict[str, Column]:
        found = {name: Column(one.type, written=True) for name, one in self._scan.readings.items()}
        return found | {name: Column(pa.string()) for name in stated(self.given, found)}

    @property
    def rows(self) -> int:
        return self._scan.rows

    @property
    def notes(self) -> Sequence[str]:
        notes = [*self._scan.dialect.notes(), *overruled(self.given, self._scan.readings)]
        for name, one in self._scan.readings.items():
            if one.marks == ",":
                notes.append(f"column {name!r}: fractions are written with a comma")
            elif one.marks:
                notes.append(f"column {name!r}: thousands are parted by a {SPOKEN[one.marks[0]]}")
            if one.spelled and not one.is_text:
                notes.append(f"column {name!r}: words such as 'NaN' read as missing")
        return notes

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        readings = self._scan.readings
        given = stated(self.given, readings)
        own = [name for name in types if name not in given]
        for batch in self._strings(self._scan.dialect, own or self._scan.dialect.names[:1]):
            yield {
                name: typed(name, batch.column(name), type_, readings[name].marks)
                if name in own
                else repeated(given[name], batch.num_rows)
                for name, type_ in types.items()
            }


def _is_encoding(error: Exception) -> bool:
    return isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)


def _spoken(error: Exception) -> str:
    return f"{error}: give every line as many cells as the header has"
