"""One CSV or TSV file: a first pass finds what its columns hold, later ones stream them as that."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from acclimate.errors import DataError
from acclimate.tasks.sources.blanks import WithoutBlanks
from acclimate.tasks.sources.dialect import COMMENTS, HEAD_BYTES, Dialect, detect
from acclimate.tasks.sources.parquet import overruled, repeated, stated
from acclimate.tasks.sources.text import Reading, typed
from acclimate.tasks.sources.types import Column

BLOCK_BYTES = 1 << 23
_SPOKEN_CELLS = 60
_ANNOTATIONS = ("#group", "#datatype", "#default")
_BOOKKEEPING = ("column 1", "result", "table", "_start", "_stop")
"""Columns that InfluxDB adds to those of the recordings: which query and table, from when to when."""
_LONGEST_FOOTER = 5


@dataclass
class _Odd:
    """Lines with more or fewer cells than the header.

    Attributes:
        rows: what each says that is no comment, and its number among the lines that are in order.
    """

    seen: int = 0
    comments: int = 0
    rows: list[tuple[int, str]] = field(default_factory=list)

    def see(self, row: Any) -> str:
        if row.text.startswith(COMMENTS) or not row.text.strip("\0 \t,;"):
            self.comments += 1
        elif len(self.rows) < 100:
            told = row.text[:_SPOKEN_CELLS].strip()
            told = f"{told!r} has {row.actual_columns} cell(s), not {row.expected_columns}"
            self.rows.append((row.number - self.seen, told))
        self.seen += 1
        return "skip"


@dataclass(frozen=True)
class _Scan:
    dialect: Dialect
    readings: Mapping[str, Reading]
    rows: int
    comments: int
    footer: tuple[str, ...]
    headers: int


@dataclass(frozen=True)
class DelimitedPart:
    """A file, and the columns that its place gives every row as text.

    Args:
        absent: words that stand for a missing value, besides the usual ones.

    Raises:
        DataError: it is not a table as text; from any property.
    """

    name: str
    open: Callable[[], Any]
    given: Mapping[str, str | None] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
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
                raise DataError(f"{self.name}: {error}: correct or remove the line") from error
        dialect = detect(self.name, head, whole, "cp1252")
        try:
            return self._scanned(dialect)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.name}: is text neither in UTF-8 nor in cp1252 ({error}): save it as UTF-8"
            ) from error

    def _scanned(self, dialect: Dialect) -> _Scan:
        commas = dialect.delimiter != ","
        readings = {name: Reading(may_have_commas=commas, absent=self.absent) for name in dialect.names}
        odd = _Odd()
        rows = lines = 0
        for batch, again in self._strings(dialect, dialect.names, odd):
            rows, lines = rows + batch.num_rows, lines + batch.num_rows + again
            for name, reading in readings.items():
                reading.see(batch.column(name))
        places = [(number - dialect.skipped, told) for number, told in odd.rows]
        if places and (places[0][0] <= lines or len(places) > _LONGEST_FOOTER):
            place, told = places[0]
            raise DataError(
                f"{self.name}, row {place}: {told}: give every line as many cells as the header has, and "
                "a second table a file of its own"
            )
        return _Scan(
            dialect, readings, rows, odd.comments, tuple(told for _, told in odd.rows), headers=lines - rows
        )

    def _strings(self, dialect: Dialect, names: Sequence[str], odd: _Odd) -> Iterator[tuple[Any, int]]:
        """Batches of every cell as it is written, and how often the header came again in each."""
        if not dialect.names:
            return
        by_blanks = dialect.delimiter == " "
        with self.open() as file:
            options = pv.ReadOptions(
                column_names=list(dialect.names),
                skip_rows=dialect.skipped,
                encoding=dialect.encoding,
                block_size=BLOCK_BYTES,
                use_threads=False,
            )
            if by_blanks:
                file = WithoutBlanks(file)
            reader = pv.open_csv(
                io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file,
                read_options=options,
                parse_options=pv.ParseOptions(
                    delimiter="\t" if by_blanks else dialect.delimiter,
                    newlines_in_values=not by_blanks,
                    escape_char="\\" if dialect.escapes else False,
                    invalid_row_handler=odd.see,
                ),
                convert_options=pv.ConvertOptions(
                    column_types=dict.fromkeys(dialect.names, pa.string()),
                    include_columns=list(dict.fromkeys([*names, *dialect.names[: dialect.annotated]])),
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                once = _without_headers(batch, dialect)
                if batch.num_rows:
                    yield once, batch.num_rows - once.num_rows

    @cached_property
    def columns(self) -> dict[str, Column]:
        found = {name: Column(one.type, written=True) for name, one in self._scan.readings.items()}
        found = {name: one for name, one in found.items() if not (self._annotated and name in _BOOKKEEPING)}
        return found | {name: Column(pa.string()) for name in stated(self.given, found)}

    @property
    def _annotated(self) -> bool:
        return self._scan.dialect.annotated

    @property
    def rows(self) -> int:
        return self._scan.rows

    @property
    def notes(self) -> Sequence[str]:
        scan = self._scan
        notes = [*scan.dialect.notes(), *overruled(self.given, scan.readings)]
        notes += (
            [f"columns that InfluxDB adds left out: {', '.join(_BOOKKEEPING)}"] if self._annotated else []
        )
        notes += [f"a line after the last row left out: {told}" for told in scan.footer]
        for what, lines in (("hold comments or nothing", scan.comments), ("repeat the header", scan.headers)):
            notes += [f"lines that {what} left out: {lines}"] if lines else []
        for name, one in scan.readings.items():
            notes.extend(f"column {name!r}: {told}" for told in one.notes())
        return notes

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        readings = self._scan.readings
        given = stated(self.given, readings)
        own = [name for name in types if name not in given]
        for batch, _ in self._strings(self._scan.dialect, own or self._scan.dialect.names[:1], _Odd()):
            if batch.num_rows:
                yield {
                    name: typed(name, batch.column(name), type_, readings[name])
                    if name in own
                    else repeated(given[name], batch.num_rows)
                    for name, type_ in types.items()
                }


def _without_headers(batch: Any, dialect: Dialect) -> Any:
    """The rows that do not say the names of the columns once more, as files that were strung together do."""
    if dialect.annotated:
        batch = batch.filter(pc.invert(pc.is_in(batch.column(dialect.names[0]), pa.array(_ANNOTATIONS))))
    if not dialect.has_header:
        return batch
    again = None
    for name in batch.schema.names:
        same = pc.equal(batch.column(name), "" if re.fullmatch("column [0-9]+", name) else name)
        again = same if again is None else pc.and_(again, same)
        if not pc.any(again).as_py():
            return batch
    return batch.filter(pc.invert(again))


def _is_encoding(error: Exception) -> bool:
    return isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
