"""A file of JSON objects, a line each or in a list, read in blocks; inner fields are called `outer.inner`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.json as pj

from acclimate.errors import DataError
from acclimate.tasks.sources.objects import as_lines, is_document, only_key
from acclimate.tasks.sources.parquet import flat, overruled, repeated, stated
from acclimate.tasks.sources.source import DAMAGED
from acclimate.tasks.sources.types import PLACES, Column, cast, plain, unified

BLOCK_BYTES = 1 << 23
_KEY_BYTES = 1 << 10


@dataclass(frozen=True)
class LinesPart:
    """A file, and the columns that its place gives every row as text.

    Args:
        value: what the values of a document's one list of moments are called; None: `value`.

    Raises:
        DataError: a line is no JSON object, or a field holds different things in different lines; from any
            property.
    """

    name: str
    open: Callable[[], Any]
    given: Mapping[str, str | None] = field(default_factory=dict)
    value: str | None = None
    width: ClassVar[int] = 1

    @cached_property
    def _scan(self) -> tuple[dict[str, Any], int]:
        """The type of each field, and the number of rows."""
        blocks = []
        rows = 0
        for table in self._tables():
            found = {one.name: Column(plain(one.type)) for one in table.schema}
            blocks.append((f"rows {rows + 1} to {rows + table.num_rows}", found, table.num_rows))
            rows += table.num_rows
        try:
            return unified(blocks)[0] if blocks else {}, rows
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error

    def _tables(self) -> Iterator[Any]:
        rows = 0
        with self.open() as file:
            head = file.read(BLOCK_BYTES)
            blocks = (as_lines if is_document(head) else _whole_lines)(head, file, BLOCK_BYTES)
            try:
                for lines in blocks:
                    table = self._table(lines, rows)
                    rows += table.num_rows
                    yield table
            except ValueError as error:
                raise DataError(
                    f"{self.name}: is no list of JSON objects ({error}): write one object for each row, as "
                    "`to_json(orient='records')` of pandas does"
                ) from error

    def _table(self, lines: bytes, rows: int) -> Any:
        try:
            options = pj.ReadOptions(use_threads=False, block_size=len(lines) + 1)
            table = flat(pj.read_json(io.BytesIO(lines), options))
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{self.name}: no JSON object a line after row {rows} ({error}): write one object a line, "
                "a field with one type throughout"
            ) from error
        moments = self.value is not None and {*table.schema.names} == {"ts", "value"}
        return table.rename_columns({"value": self.value}) if moments else table

    @property
    def only_key(self) -> str | None:
        """What a document with one list of moments calls it; None for others, and where it is damaged."""
        try:
            with self.open() as file:
                return only_key(file.read(_KEY_BYTES))
        except DAMAGED:  # which is told where it is read
            return None

    @cached_property
    def columns(self) -> dict[str, Column]:
        own = {name: Column(type_) for name, type_ in self._scan[0].items()}
        return own | {name: Column(pa.string()) for name in stated(self.given, own)}

    @property
    def rows(self) -> int:
        return self._scan[1]

    @property
    def notes(self) -> Sequence[str]:
        return overruled(self.given, self._scan[0])

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        given = stated(self.given, self._scan[0])
        for table in self._tables():
            rows = table.num_rows
            present = set(table.schema.names)
            if rows:
                yield {
                    name: repeated(given[name], rows)
                    if name in given
                    else cast(name, table.column(name), type_)
                    if name in present
                    else pa.nulls(rows, type_)
                    for name, type_ in types.items()
                }


def called_alike(parts: Sequence[LinesPart]) -> Sequence[LinesPart]:
    """Files of one list of moments each, whose key names their values, where it is the same in all of them.

    A key that differs from file to file, or is the file's name, is a device.
    """
    key = parts[0].only_key if parts else None
    if key is None or key in ("ts", *PLACES):
        return parts
    stems = (part.name.rpartition("/")[2].partition(".")[0] for part in parts)
    alike = key not in stems and all(part.only_key == key for part in parts)
    return [replace(part, value=key) for part in parts] if alike else parts


def _whole_lines(head: bytes, file: Any, block_bytes: int) -> Iterator[bytes]:
    block, rest = head, b""
    while block:
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield whole
        block = file.read(block_bytes)
    if rest.strip():
        yield rest
