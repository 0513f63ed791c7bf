"""Blocks of objects in a store, by their digests: from memory, from this node's disk, else from the store.

What is kept on disk is named by its digest and checked against it whenever it is read, so that any number of
processes share the folder without a lock, and neither a rebuilt pool, a damaged disk nor an object that was
changed can give other bytes than were written.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from acclimate.errors import DataError, StoreError
from acclimate.home import made_home
from acclimate.object_store import open_store, reaching
from acclimate.settings import Settings

log = logging.getLogger(__name__)

DIGEST_BYTES = 16
IN_MEMORY = 128
"""Blocks that a process keeps, of about a MiB."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before a store that does not answer is asked again; its driver has tried three times by then."""
_BEYOND = re.compile("invalid ?range|range.*not satisfiable", re.IGNORECASE)
REMEDY = "remove what is at that URL and build the pool again"
_SCRATCH, _LOCK, _LEFT_S = ".new-", ".lock", 3600.0  # a scratch so old is a killed process's
_LOOKS = 64  # of the cache's limit: so much is written between two looks at its size


class PoolSettings(Settings):
    """The cache of pools that lie in an object store."""

    pool_cache: str = Field(
        default="", description="folder that all processes of a node share; empty means one in `home`"
    )
    pool_cache_gb: Annotated[float, Field(ge=0, le=100_000)] = Field(
        default=10.0, description="largest size of that folder; 0 keeps blocks in memory alone"
    )


class Block(NamedTuple):
    """Bytes `begin` to `end` (exclusive) of the object at `path`, and what they must hash to."""

    path: str
    begin: int
    end: int
    digest: bytes


def digest_of(content: bytes | memoryview) -> bytes:
    """What a block is known by."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


class Blocks:
    """Reads blocks below a URL; travels to other processes as that URL.

    Attributes:
        counts: blocks `wanted` by episodes; of all reads those from `memory`, `disk` and `store`, and the
            `requests` and `bytes` of the latter.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.counts: Counter[str] = Counter()
        self._files, _ = open_store(url)
        self._memory: OrderedDict[bytes, bytes] = OrderedDict()
        settings = PoolSettings.from_environment()
        self._limit = int(settings.pool_cache_gb * 1e9)
        self._folder = Path(settings.pool_cache) if settings.pool_cache else None
        self._unseen = self._limit  # look at the cache's size after the first write

    def __reduce__(self) -> Any:
        return Blocks, (self.url,)

    def read(self, wanted: Sequence[Block]) -> dict[bytes, bytes]:
        """Their content by digest.

        Raises:
            DataError: an object is gone, or other bytes are there than were written.
            StoreError: the store does not answer, for half a minute, or does not let us in.
        """
        found: dict[bytes, bytes] = {}
        missing: list[Block] = []
        for block in wanted:
            content = self._known(block.digest)
            if content is None:
                missing.append(block)
            else:
                found[block.digest] = content
        for block, content in zip(missing, self._fetched(missing), strict=True):
            self._keep(block.digest, content)
            found[block.digest] = content
        for digest, content in found.items():
            self._memory[digest] = content
            self._memory.move_to_end(digest)
        while len(self._memory) > IN_MEMORY:
            self._memory.popitem(last=False)
        return found

    def _known(self, digest: bytes) -> bytes | None:
        if digest in self._memory:
            self.counts["memory"] += 1
            return self._memory[digest]
        if not self._limit:
            return None
        place = self._place(digest)
        try:
            content = place.read_bytes()
        except OSError:
            return None
        if digest_of(content) != digest:
            place.unlink(missing_ok=True)  # a disk that lost power, or its mind
            return None
        with contextlib.suppress(OSError):
            os.utime(place)  # what is used is not the oldest
        self.counts["disk"] += 1
        return content

    def _fetched(self, missing: Sequence[Block]) -> Iterator[bytes]:
        if not missing:
            return
        ranges = _joined(missing)
        contents = self._asked(ranges)
        self.counts["requests"] += len(ranges)
        for span, content in zip(ranges, contents, strict=True):
            for block in span:
                part = content[block.begin - span[0].begin : block.end - span[0].begin]
                if digest_of(part) != block.digest:
                    raise DataError(
                        f"{self.url}: bytes {block.begin:,} to {block.end:,} of {block.path} are not those "
                        f"that were written ({len(part):,} came): the object was cut short or changed; "
                        f"{REMEDY}"
                    )
                self.counts["store"] += 1
                self.counts["bytes"] += len(part)
                yield part

    def _asked(self, ranges: Sequence[Sequence[Block]]) -> list[bytes]:
        for pause in (*PAUSES_S, None):
            try:
                with reaching(self.url):
                    return list(
                        self._files.cat_ranges(
                            [span[0].path for span in ranges],
                            [span[0].begin for span in ranges],
                            [span[-1].end for span in ranges],
                            on_error="raise",
                        )
                    )
            except FileNotFoundError as error:
                raise DataError(
                    f"{self.url}: {error} is gone: the pool was removed, or built anew and cleaned up; build "
                    "it again"
                ) from error
            except StoreError as error:
                if _BEYOND.search(str(error)):
                    raise DataError(f"{self.url}: an object is cut short ({error}): {REMEDY}") from error
                if pause is None or isinstance(error.__cause__, PermissionError):
                    raise
                log.warning("pool-store-does-not-answer", extra={"again_in_s": pause, "reason": str(error)})
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _place(self, digest: bytes) -> Path:
        if self._folder is None:
            self._folder = made_home() / "pool-cache"
        name = digest.hex()
        return self._folder / name[:2] / name

    def _keep(self, digest: bytes, content: bytes) -> None:
        """On disk, whole or not at all; a disk that takes nothing is said once and left alone."""
        if not self._limit:
            return
        try:
            self._write(self._place(digest), content)
            self._unseen += len(content)
            if self._unseen > self._limit // _LOOKS:
                self._unseen = 0
                self._make_room()
        except OSError as error:  # it is full, or not ours to write
            self._limit = 0
            log.warning(
                "pool-cache-cannot-be-written",
                extra={"folder": str(self._folder), "reason": error.strerror, "instead": "memory alone"},
            )

    @staticmethod
    def _write(place: Path, content: bytes) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=_SCRATCH, dir=place.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(scratch, place)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise

    def _make_room(self) -> None:
        """Remove what was used longest ago until a tenth is free; one process of a node does it at a time."""
        assert self._folder is not None
        with (self._folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            files = []
            for folder, _, names in os.walk(self._folder):
                for name in names:
                    with contextlib.suppress(OSError):  # another process removed it
                        path = os.path.join(folder, name)
                        about = os.stat(path)
                        if name == _LOCK or (name.startswith(_SCRATCH) and not _is_left(about.st_mtime)):
                            continue
                        files.append((about.st_mtime, about.st_size, path))
            size = sum(each for _, each, _ in files)
            for _, each, path in sorted(files) if size > self._limit else ():
                if size <= 0.9 * self._limit:
                    return
                with contextlib.suppress(OSError):
                    os.unlink(path)
                size -= each


def _is_left(written: float) -> bool:
    return time.time() - written > _LEFT_S


def _joined(blocks: Sequence[Block]) -> list[list[Block]]:
    """Blocks that lie side by side in an object are asked for at once."""
    spans: list[list[Block]] = []
    for block in blocks:
        if spans and spans[-1][-1].path == block.path and spans[-1][-1].end == block.begin:
            spans[-1].append(block)
        else:
            spans.append([block])
    return spans
