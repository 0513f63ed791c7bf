"""Tables in memory: Arrow, pandas, polars and others that speak Arrow's C stream; arrays; read on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from acclimate.errors import DataError
from acclimate.tasks.sources.source import BATCH_ROWS, Source
from acclimate.tasks.sources.types import Column, cast, plain


@dataclass(frozen=True)
class TablePart:
    """An Arrow table."""

    name: str
    table: Any
    width: ClassVar[int] = 1

    @cached_property
    def columns(self) -> dict[str, Column]:
        names = self.table.schema.names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{self.name}: two columns are called {twice!r}: rename one")
        return {field.name: Column(plain(field.type)) for field in self.table.schema}

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def notes(self) -> Sequence[str]:
        return ()

    def batches(self, types: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for batch in self.table.select(list(types)).to_batches(max_chunksize=BATCH_ROWS):
            if batch.num_rows:
                yield {name: cast(name, batch.column(name), type_) for name, type_ in types.items()}


def from_frame(frame: Any, name: str = "data frame") -> Source:
    """A pandas data frame (its columns; the index is left out), an Arrow table, or a frame of polars.

    Raises:
        DataError: it is none of these.
    """
    table = _as_arrow(frame, name)
    digest = hashlib.sha256()
    sink = pa.PythonFile(_Hashing(digest), mode="w")
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None).combine_chunks())
    return Source(name, digest.hexdigest(), lambda: [TablePart(name, table)])


def from_arrays(columns: Mapping[str, Any], name: str = "arrays") -> Source:
    """Arrays of equal length by column name; an array with more than one axis becomes a list column."""
    return from_frame(as_table(columns, name), name)


def as_table(columns: Mapping[str, Any], name: str) -> Any:
    """The arrow table of `from_arrays`."""
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{name}: the arrays differ in length: {lengths}")
    return pa.table({key: _column(values) for key, values in columns.items()})


def deferred(name: str, fingerprint: str, read: Callable[[], Any]) -> Source:
    """A table that is read only if a pool must be built from it."""
    return Source(name, fingerprint, lambda: [TablePart(name, read())])


def _as_arrow(frame: Any, name: str) -> Any:
    if isinstance(frame, pa.Table):
        return frame
    try:
        if hasattr(frame, "iloc"):  # pandas: its NaN are missing values
            return pa.Table.from_pandas(frame, preserve_index=False)
        return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{name}: a {type(frame).__name__} gives no Arrow table ({error})") from error


def _column(values: Any) -> Any:
    array = np.asarray(values)
    if array.ndim == 1:
        return pa.array(array)
    flat = np.ascontiguousarray(array).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), array[0].size)


class _Hashing:
    """A writable file that only hashes, so that a table is fingerprinted without a copy."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...
