"""What lies at the URL of a pool in an object store, and how it is opened.

- `pool.json`: as in a pool's folder, and where the rest is (`stored`). Written last: without it nothing is
  there.
- `<build>/index.npz`: `rows` and `cells` of the whole pool, and the digests of every array's blocks.
- `<build>/<shard>/`: `values.npy`, `targets.npy`, `times.npy` and `starts.bin` as in a pool's folder, of
  consecutive tasks; what `starts.bin` counts are the shard's own rows. `shard.json` says that it is whole.

`<build>` names the source and the declaration, so that builders of the same pool write the same objects and
those of another one touch nothing that is read. A copy of `pool.json` and the index elsewhere, with `url` in
`stored`, opens the same pool.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fsspec.implementations.local import LocalFileSystem

from acclimate.errors import DataError, StoreError
from acclimate.files import scratch_file, write_whole
from acclimate.object_store import open_store, reaching
from acclimate.tasks.pool.info import INFO, STARTS, PoolInfo
from acclimate.tasks.pool.remote.blocks import REMEDY, Blocks, digest_of
from acclimate.tasks.pool.remote.ranged import Piece, Ranged, block_rows

ARRAYS = {"values": "values.npy", "targets": "targets.npy", "times": "times.npy", "starts": STARTS}
INDEX = "index.npz"
STORED = "stored"


@dataclass(frozen=True)
class StoredArray:
    """One array of one shard.

    Attributes:
        offset: bytes before the first row.
        dtype: numpy's name of it.
        shape: of all of it.
        digests: of its blocks, in hex one after the other.
    """

    offset: int
    dtype: str
    shape: tuple[int, ...]
    digests: str

    @property
    def row_bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape[1:], dtype=np.int64))

    @property
    def digest_rows(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(bytes.fromhex(self.digests), np.uint8).reshape(-1, 16)


def measured_array(path: Path) -> StoredArray:
    """What a file of a pool's folder is, read once through."""
    if path.name == STARTS:
        offset, dtype, shape = 0, np.dtype(np.int64), (path.stat().st_size // 8,)
    else:
        mapped = np.load(path, mmap_mode="r")
        offset, dtype, shape = int(mapped.offset), mapped.dtype, tuple(mapped.shape)
    made = StoredArray(offset, dtype.str, shape, "")
    each = block_rows(made.row_bytes) * made.row_bytes
    digests = []
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(each):
            digests.append(digest_of(block).hex())
    return StoredArray(offset, dtype.str, shape, "".join(digests))


class Place:
    """A folder below a URL that is written object by object.

    Raises:
        StoreError: from every method: the store does not answer, or does not let us in.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.files, self.root = open_store(self.url)

    def put(self, path: Path, name: str) -> None:
        """A file as an object; its size there is compared."""
        with reaching(self.url):
            if self._is_local:
                with scratch_file(Path(self._at(name))) as scratch:
                    shutil.copyfile(path, scratch)
            else:
                self.files.put_file(str(path), self._at(name))
            there = self.files.info(self._at(name))["size"]
        if there != path.stat().st_size:
            raise StoreError(
                f"{self.url}/{name} has {there:,} bytes after {path.stat().st_size:,} were written: build "
                "again"
            )

    def write(self, name: str, content: bytes) -> None:
        """A small object in one step."""
        with reaching(self.url):
            if self._is_local:
                write_whole(Path(self._at(name)), content)
            else:
                self.files.pipe_file(self._at(name), content)

    def read(self, name: str) -> bytes | None:
        """A small object; None where there is none."""
        try:
            with reaching(self.url):
                content: bytes = self.files.cat_file(self._at(name))
                return content
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _at(self, name: str) -> str:
        return posixpath.join(self.root, name)

    @property
    def _is_local(self) -> bool:
        return isinstance(self.files, LocalFileSystem)


def index_of(
    rows: npt.NDArray[np.int64], cells: npt.NDArray[np.int64], shards: Mapping[str, Mapping[str, StoredArray]]
) -> bytes:
    """The index's content; equal for equal pools."""
    held = io.BytesIO()
    digests: dict[str, Any] = {
        f"{number}.{name}": array.digest_rows
        for number, shard in enumerate(shards.values())
        for name, array in shard.items()
    }
    np.savez(held, rows=rows, cells=cells, **digests)
    return held.getvalue()


def written_down(
    place: Place, info: PoolInfo, build: str, shards: Mapping[str, Mapping[str, StoredArray]]
) -> None:
    """Write `pool.json`: from now on the pool is there. The index, of `info.content_hash`, is there already.

    Args:
        shards: their arrays by their folder below the URL, in the order of their tasks.
    """
    stored = {
        "build": build,
        "shards": [
            {"folder": folder}
            | {
                name: {"offset": one.offset, "dtype": one.dtype, "shape": list(one.shape)}
                for name, one in shard.items()
            }
            for folder, shard in shards.items()
        ],
    }
    document = {**info.as_dict(), STORED: stored}
    place.write(INFO, (json.dumps(document) + "\n").encode())


def info_at(place: Place) -> dict[str, Any] | None:
    """What `pool.json` says; None where there is none that can be read."""
    content = place.read(INFO)
    try:
        return None if content is None else dict(json.loads(content))
    except ValueError:
        return None


def opened(location: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """The fields of a pool that lies at a URL, or whose `pool.json` alone does (`document`, at `location`).

    Raises:
        DataError: there is no pool, or its parts do not belong together.
        StoreError: the store does not answer, or does not let us in.
    """
    try:
        return _opened(location, document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # somebody's own `pool.json`
        raise DataError(f"{location} is not a task pool ({error!r}): {REMEDY}") from error


def _opened(location: str, document: dict[str, Any] | None) -> dict[str, Any]:
    near = Place(location)
    document = info_at(near) if document is None else document
    if document is None or STORED not in document:
        raise DataError(
            f"{location} holds no task pool: build one there with "
            f"`acclimate data build SOURCE --pool {location}`"
        )
    stored = document.pop(STORED)
    url = stored.get("url", near.url)
    info = PoolInfo.from_dict(document)
    content = near.read(f"{stored['build']}/{INDEX}")
    if content is None or hashlib.sha256(content).hexdigest() != info.content_hash:
        what = "gone" if content is None else "another one"
        raise DataError(f"{location}: {INDEX} of build {stored['build']} is {what}: {REMEDY}")
    index = np.load(io.BytesIO(content))
    blocks = Blocks(url)
    root = Place(url).root

    def array(name: str) -> Ranged | None:
        shards = [shard.get(name) for shard in stored["shards"]]
        if shards[0] is None:
            return None
        before = np.cumsum([0, *(int(shard["values"]["shape"][0]) for shard in stored["shards"])])
        pieces = [
            Piece(
                path=posixpath.join(root, folder["folder"], ARRAYS[name]),
                offset=folder[name]["offset"],
                rows=folder[name]["shape"][0],
                digests=index[f"{number}.{name}"],
                plus=int(before[number]) if name == "starts" else 0,
            )
            for number, folder in enumerate(stored["shards"])
        ]
        return Ranged(blocks, np.dtype(shards[0]["dtype"]), tuple(shards[0]["shape"][1:]), pieces)

    return {
        "info": info,
        **{name: array(name) for name in ARRAYS},
        "rows": index["rows"],
        "cells": index["cells"],
        "path": location,
    }


def pinned(location: str, folder: Path) -> None:
    """Write what opens the pool at a URL as it is now into a folder, whatever is built there later.

    Raises:
        DataError, StoreError: as for `opened`.
    """
    place = Place(location)
    document = info_at(place)
    opened(location, None if document is None else dict(document))
    assert document is not None
    stored = document[STORED]
    content = place.read(f"{stored['build']}/{INDEX}")
    assert content is not None
    write_whole(folder / stored["build"] / INDEX, content)
    document[STORED] = {**stored, "url": stored.get("url", place.url)}
    write_whole(folder / INFO, json.dumps(document) + "\n")
