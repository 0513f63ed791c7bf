"""One CSV or TSV file: a first pass finds what its columns hold, later ones stream them as that."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from acclimate.errors import DataError
from acclimate.tasks.sources.blanks import WithoutBlanks
from acclimate.tasks.sources.dialect import COMMENTS, HEAD_BYTES, HEAD_LINES, Dialect, detect
from acclimate.tasks.sources.parquet import overruled, repeated, stated
from acclimate.tasks.sources.text import Reading, typed
from acclimate.tasks.sources.types import Column

BLOCK_BYTES = 1 << 23
READ_PARTS = 8
"""Of a block are read one by one, for Arrow reads 32 ahead of what is taken, and keeps them all."""
_SPOKEN_CELLS = 60
_MARK = "\ufeff"
_ANNOTATIONS = ("#group", "#datatype", "#default")
_BOOKKEEPING = ("column 1", "result", "table", "_start", "_stop")
"""Columns that InfluxDB adds to those of the recordings: which query and table, from when to when."""
_LONGEST_FOOTER = 5
_FEWEST_ROWS = 2
_COUNTED = re.compile(r"\s*[-+]?[0-9][-+0-9.,:/eETZ ]*")
"""A number, or a time."""
_FEWEST_PAIRS = 5
"""Lines with one delimiter, as prose has too, from which on they are rows of two columns."""


@dataclass
class _Odd:
    """Lines with more or fewer cells than the header.

    Attributes:
        rows: what each says that is no comment, and its number among the lines that are in order.
        runs_on: one of them goes over several lines of the file, and is no footer in quotes.
    """

    seen: int = 0
    comments: int = 0
    runs_on: bool = False
    rows: list[tuple[int, str]] = field(default_factory=list)

    def see(self, row: Any) -> str:
        if row.text.startswith(COMMENTS) or not row.text.strip("\0 \t,;"):
            self.comments += 1
        elif len(self.rows) < 100:
            told = row.text[:_SPOKEN_CELLS].strip()
            lines = row.text.count("\n") + 1
            self.runs_on |= lines > 2 and (lines > _LONGEST_FOOTER or row.text.count('"') % 2 == 1)
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
    headers: frozenset[int]
    parts: int


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
            while head.count(b"\n") < HEAD_LINES and len(head) < BLOCK_BYTES:
                more = file.read(len(head))
                head += more
                if not more:
                    break
            whole = not file.read(1)
        try:
            dialect = detect(self.name, head, whole)
        except csv.Error as error:
            raise DataError(
                f"{self.name}: {error} in its first lines: is a quote left open, or is it no table?"
            ) from error
        try:
            return self._scanned_in_parts(dialect)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if dialect.encoding != "utf-8" or not _is_encoding(error):
                told = "holds no rows of a table" if "Could not skip" in str(error) else error
                raise DataError(f"{self.name}: {told}: correct or remove the line") from error
        dialect = detect(self.name, head, whole, "cp1252")
        try:
            return self._scanned_in_parts(dialect)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.name}: is text neither in UTF-8 nor in cp1252 ({error}): save it as UTF-8"
            ) from error

    def _scanned_in_parts(self, dialect: Dialect) -> _Scan:
        try:
            return self._scanned(dialect, READ_PARTS)
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error):
                raise
        return self._scanned(dialect, 1)  # a row or cell is longer than a part

    def _scanned(self, dialect: Dialect, parts: int) -> _Scan:
        commas = dialect.delimiter != ","
        readings = {name: Reading(may_have_commas=commas, absent=self.absent) for name in dialect.names}
        odd = _Odd()
        lines = 0
        headers: set[int] = set()
        for batch in self._strings(dialect, dialect.names, odd, parts):
            again = _headers(batch, dialect)
            headers.update((lines + again).tolist())
            for name, reading in readings.items():
                reading.see(_without(batch.column(name), again))
                if reading.kind == "text":
                    self._refuse_rows_in_a_cell(name, batch, dialect, lines)
            lines += batch.num_rows
        places = [(number - dialect.skipped, told) for number, told in odd.rows]
        if places and (places[0][0] <= lines or len(places) > _LONGEST_FOOTER or odd.runs_on):
            place, told = places[0]
            raise DataError(
                f"{self.name}, row {place}: {told}: give every line as many cells as the header has, and "
                "a second table a file of its own; close every quote"
            )
        footer = tuple(told for _, told in odd.rows)
        found = lines - len(headers)
        return _Scan(dialect, readings, found, odd.comments, footer, frozenset(headers), parts)

    def _refuse_rows_in_a_cell(self, name: str, batch: Any, dialect: Dialect, before: int) -> None:
        """Raise a DataError where a cell holds whole rows, as behind a quote that is left open."""
        fewest = _FEWEST_ROWS if len(dialect.names) > 2 else _FEWEST_PAIRS
        values = batch.column(name)
        for index in np.flatnonzero(_mask(pc.match_substring(values, "\n"))):
            lines = values[index].as_py().splitlines()[1:]
            cells = [line.split(dialect.delimiter) for line in lines]
            rows = [row for row in cells if len(row) == len(dialect.names)]
            least = max(fewest, len(lines) / 2)
            if len(rows) >= least and sum(_like(batch.slice(max(0, index - 3), 7), rows)) >= least:
                raise DataError(
                    f"{self.name}, row {before + index + 1}: column {name!r} holds a cell of "
                    f"{len(lines) + 1} lines that look like rows: close the quote in it"
                )

    def _strings(self, dialect: Dialect, names: Sequence[str], odd: _Odd, parts: int) -> Iterator[Any]:
        """Batches of every cell as it is written, headers that come again among them."""
        if not dialect.names:
            return
        by_blanks = dialect.delimiter == " "
        with self.open() as file:
            options = pv.ReadOptions(
                column_names=list(dialect.names),
                skip_rows=dialect.skipped,
                encoding=dialect.encoding,
                block_size=BLOCK_BYTES // parts,
                use_threads=False,
            )
            if by_blanks:
                file = WithoutBlanks(file)
            reader = pv.open_csv(
                io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file,
                read_options=options,
                parse_options=pv.ParseOptions(
                    delimiter="\t" if by_blanks else dialect.delimiter,
                    quote_char=dialect.quote,
                    newlines_in_values=not by_blanks,
                    escape_char="\\" if dialect.escapes else False,
                    invalid_row_handler=odd.see,
                ),
                convert_options=pv.ConvertOptions(
                    column_types=dict.fromkeys(dialect.names, pa.string()),
                    include_columns=list(names),
                    strings_can_be_null=False,
                ),
            )
            for batch in _gathered(reader, parts):
                if batch.num_rows:
                    yield _without_marks(batch, dialect.names[0])

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
        left_out = {
            "hold comments or nothing": scan.comments,
            "hold nothing, or a comment of ARFF"
            if scan.dialect.arff
            else "hold nothing or repeat the header": len(scan.headers),
        }
        notes += [f"lines that {what} left out: {lines}" for what, lines in left_out.items() if lines]
        for name, one in scan.readings.items():
            notes.extend(f"column {name!r}: {told}" for told in one.notes())
        return notes

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        readings = self._scan.readings
        given = stated(self.given, readings)
        own = [name for name in types if name not in given]
        headers, seen = np.array(sorted(self._scan.headers), dtype=np.int64), 0
        dialect = self._scan.dialect
        for batch in self._strings(dialect, own or dialect.names[:1], _Odd(), self._scan.parts):
            inside = (headers >= seen) & (headers < seen + batch.num_rows)
            seen, batch = seen + batch.num_rows, _without(batch, headers[inside] - seen)
            if batch.num_rows:
                yield {
                    name: typed(name, batch.column(name), type_, readings[name])
                    if name in own
                    else repeated(given[name], batch.num_rows)
                    for name, type_ in types.items()
                }


def _gathered(reader: Iterable[Any], parts: int) -> Iterator[Any]:
    """So many batches of a reader as one each."""
    batches = iter(reader)
    while some := list(itertools.islice(batches, parts)):
        yield some[0] if len(some) == 1 else pa.concat_batches(some)


def _like(near: Any, rows: Sequence[Sequence[str]]) -> Iterator[bool]:
    """Whether each row has numbers or times where all rows near it have some."""
    cells = [[cell for cell in column.to_pylist() if cell and "\n" not in cell] for column in near.columns]
    places = [at for at, some in enumerate(cells) if some and all(map(_COUNTED.fullmatch, some))]
    for row in rows:
        yield bool(places) and all(_COUNTED.fullmatch(row[at].strip('" ')) for at in places)


def _headers(batch: Any, dialect: Dialect) -> npt.NDArray[np.int64]:
    """The rows that say the names of the columns once more, as in files strung together, or nothing."""
    again = np.zeros(batch.num_rows, dtype=bool)
    if dialect.annotated:
        again |= _mask(pc.is_in(batch.column(dialect.names[0]), pa.array(_ANNOTATIONS)))
    if dialect.has_header:
        same = np.ones(batch.num_rows, dtype=bool)
        for name in dialect.names:
            same &= _mask(pc.equal(batch.column(name), "" if re.fullmatch("column [0-9]+", name) else name))
            if not same.any():
                break
        again |= same
    if dialect.arff:
        again |= _mask(pc.starts_with(batch.column(dialect.names[0]), "%"))
    return np.flatnonzero(again | _empty(batch, dialect))


def _empty(batch: Any, dialect: Dialect) -> npt.NDArray[np.bool_]:
    """Rows of delimiters alone, as below the tables of workbooks."""
    found = np.ones(batch.num_rows, dtype=bool)
    for name in dialect.names if len(dialect.names) > 1 else ():
        found &= _mask(pc.equal(batch.column(name), ""))
        if not found.any():
            return found
    return found & (len(dialect.names) > 1)


def _mask(found: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(found.to_numpy(zero_copy_only=False))


def _without(rows: Any, some: npt.NDArray[np.int64]) -> Any:
    """A batch or column without some of its rows."""
    if len(some) == 0:
        return rows
    kept = np.ones(len(rows), dtype=bool)
    kept[some] = False
    return rows.filter(pa.array(kept))


def _without_marks(batch: Any, first: str) -> Any:
    """Rows without the byte order marks that begin the lines where files were strung together."""
    if first not in batch.schema.names:
        return batch
    column = batch.column(first)
    if not pc.any(pc.starts_with(column, _MARK)).as_py():
        return batch
    at = batch.schema.names.index(first)
    return batch.set_column(at, first, pc.utf8_ltrim(column, _MARK))


def _is_encoding(error: Exception) -> bool:
    return isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
