"""One Parquet file, read a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileOpener

from acclimate.errors import DataError
from acclimate.tasks.sources.source import BATCH_ROWS
from acclimate.tasks.sources.types import PLACES, Column, cast, plain


@dataclass(frozen=True)
class ParquetPart:
    """A file, and the columns that its place gives every row (partitions, file name) as text.

    Raises:
        DataError: it is no Parquet file, or has two columns of one name; from any property.
    """

    name: str
    open: Callable[[], Any]
    given: Mapping[str, str | None] = field(default_factory=dict)
    width: ClassVar[int] = 1

    @cached_property
    def _footer(self) -> tuple[Any, int]:
        try:
            with self.open() as file:
                parquet = pq.ParquetFile(file)
                return flat(parquet.schema_arrow.empty_table()).schema, parquet.metadata.num_rows
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"{self.name}: cannot be read as Parquet ({error}): is it whole? Else move it away"
            ) from error

    @cached_property
    def columns(self) -> dict[str, Column]:
        names = self._footer[0].names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{self.name}: two columns are called {twice!r}: rename one")
        own = {one.name: Column(plain(one.type)) for one in self._footer[0]}
        return own | {name: Column(pa.string()) for name in stated(self.given, own)}

    @property
    def rows(self) -> int:
        return int(self._footer[1])

    @property
    def notes(self) -> Sequence[str]:
        return overruled(self.given, self._footer[0].names)

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        given = stated(self.given, self._footer[0].names)
        own = [name for name in types if name not in given]
        with self.open() as file:
            # what is read ahead stays in memory to the end, and saves requests only where a file is far away
            far = not isinstance(file, LocalFileOpener)
            parquet = pq.ParquetFile(file, read_dictionary=self._texts(own), pre_buffer=far)
            for nested in parquet.iter_batches(batch_size=BATCH_ROWS, columns=own):
                rows, batch = nested.num_rows, flat(nested)
                if rows:
                    yield {
                        name: cast(name, batch.column(name), type_)
                        if name in own
                        else repeated(given[name], rows)
                        for name, type_ in types.items()
                    }

    def _texts(self, names: Sequence[str]) -> list[str]:
        """Text is read as codes: labels and devices repeat."""
        return [name for name in names if pa.types.is_string(self._footer[0].field(name).type)]


def flat(table: Any) -> Any:
    """An Arrow table or batch with a column for each field of a structure, called `outer.inner`."""
    while any(pa.types.is_struct(one.type) for one in table.schema):
        table = (table if isinstance(table, pa.Table) else pa.Table.from_batches([table])).flatten()
    return table


def stated(given: Mapping[str, str | None], own: Collection[str]) -> dict[str, str | None]:
    """What a file's place says that counts: a partition always, names of files unless a column has them."""
    return {name: value for name, value in given.items() if name not in PLACES or name not in own}


def overruled(given: Mapping[str, str | None], own: Collection[str]) -> tuple[str, ...]:
    """A note on each column inside the file that its partition stands for."""
    return tuple(
        f"column {name!r} is taken from the folders' names, not from inside the files"
        for name in stated(given, own)
        if name in own
    )


def repeated(value: str | None, rows: int) -> Any:
    """One text for every row, stored once."""
    if value is None:
        return pa.nulls(rows, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()).take(pa.repeat(0, rows)), [value])
