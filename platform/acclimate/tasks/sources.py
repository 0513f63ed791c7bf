"""Where recordings come from: Parquet anywhere fsspec reaches, data frames, or arrays.

A source is read more than once, batch by batch, and never held in memory as a whole unless it already is.
Its fingerprint tells whether it changed since a pool was built from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from acclimate.errors import DataError

BATCH_ROWS = 1 << 17


@dataclass(frozen=True)
class Source:
    """A re-readable table.

    Attributes:
        name: how messages call it.
        fingerprint: equal for equal content; for files of their paths, sizes and modification marks.
        open: makes the Arrow dataset behind it; called only if a pool must be built.
    """

    name: str
    fingerprint: str
    open: Callable[[], Any]

    @cached_property
    def dataset(self) -> Any:
        return self.open()

    @property
    def columns(self) -> list[str]:
        return list(self.dataset.schema.names)

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches of `columns`, in the order of the files and rows.

        Raises:
            DataError: a file is damaged or vanished.
        """
        try:
            yield from self.dataset.to_batches(
                columns=list(columns), batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1
            )
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.name}: cannot be read ({error})") from error


def from_parquet(location: str) -> Source:
    """A Parquet file, or a directory of them (partitioned `key=value/` or flat), by path or fsspec URL.

    Raises:
        DataError: nothing is there, no driver for the URL is installed, or it is not Parquet.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(str(location))
        whole = filesystem.isfile(path)
        found = {path: filesystem.info(path)} if whole else filesystem.find(path, detail=True)
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{location}: cannot be reached ({error})") from error
    files = {name: info for name, info in found.items() if whole or name.endswith((".parquet", ".pq"))}
    if not files:
        raise DataError(f"{location}: no Parquet file is there; give a .parquet file or a folder of them")

    def open_dataset() -> Any:
        try:
            return ds.dataset(
                sorted(files),
                format="parquet",
                filesystem=filesystem,
                partitioning="hive",
                partition_base_dir=None if whole else path,
            )
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{location}: cannot be read as Parquet ({error})") from error

    marks = [f"{name} {info.get('size')} {_mark(info)}" for name, info in sorted(files.items())]
    return Source(str(location), hashlib.sha256("\n".join(marks).encode()).hexdigest(), open_dataset)


def from_frame(frame: Any, name: str = "data frame") -> Source:
    """A pandas data frame (its columns; the index is left out) or a pyarrow table."""
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    digest = hashlib.sha256()
    sink = pa.PythonFile(_Hashing(digest), mode="w")
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None).combine_chunks())
    return Source(name, digest.hexdigest(), lambda: ds.dataset(table))


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
    return Source(name, fingerprint, lambda: ds.dataset(read()))


def _column(values: Any) -> Any:
    array = np.asarray(values)
    if array.ndim == 1:
        return pa.array(array)
    flat = np.ascontiguousarray(array).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), array[0].size)


def _mark(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag", "md5", "checksum", "mtime", "LastModified", "last_modified", "created"):
        if info.get(key) is not None:
            return str(info[key])
    return ""


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
