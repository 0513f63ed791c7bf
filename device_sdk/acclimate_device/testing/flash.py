"""Flash whose power can be cut at any call, and that may write in any order what was not synced.

flash = SimulatedFlash(cut_at=7, torn="half")
with pytest.raises(PowerCutError):
    my_code(flash)
my_code(flash.after_power_cut())

for left in flash.outcomes():  # every way in which the unsynced writes may have reached the flash, or not
    my_code(left)
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Container, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from acclimate_device.errors import StorageError

Torn = Literal["nothing", "half", "zeros", "everything"]
TORN: tuple[Torn, ...] = ("nothing", "half", "zeros", "everything")


class PowerCutError(BaseException):
    """The power went. Not an `Exception`: no error handling of the code under test may survive it."""


@dataclass(eq=False)
class _File:
    durable: bytes
    cached: bytes


@dataclass(frozen=True, slots=True)
class _Change:
    """Of names, in `folders`: `removed` goes, `added` now leads to `file`."""

    folders: tuple[str, ...]
    removed: str | None = None
    added: str | None = None
    file: _File | None = None

    def apply(self, names: dict[str, _File]) -> None:
        if self.removed is not None:
            names.pop(self.removed, None)
        if self.added is not None and self.file is not None:
            names[self.added] = self.file


class SimulatedFlash:
    """An in-memory `Flash` with a cache that only `sync` and `sync_names` empty.

    Args:
        cut_at: the number (from 0) of the changing call that the power does not survive; None never cuts.
        torn: how much of what was not synced reached the flash before the cut. Of contents: nothing, their
            first half, zeros of their length (as journalling file systems may leave), or everything; of
            changes of names: none, the first half, none, or all.

    Attributes:
        refuses: what every changing call fails with, as full, worn or read-only flash does; empty to work.
        refused: numbers of the changing calls that fail, half done, as with a bad block or a full disk.
    """

    def __init__(self, cut_at: int | None = None, torn: Torn = "nothing") -> None:
        self.cut_at, self.torn = cut_at, torn
        self.calls = 0
        self.refuses = ""
        self.refused: Container[int] = ()
        self.unreadable: set[str] = set()
        self._durable: dict[str, _File] = {}
        self._cached: dict[str, _File] = {}
        self._changes: list[_Change] = []
        self._lock = threading.RLock()

    def after_power_cut(self) -> SimulatedFlash:
        """What is there when the power comes back; that one is never cut again."""
        reached = {"half": len(self._changes) // 2, "everything": len(self._changes)}.get(self.torn, 0)
        return self._left(self._changes[:reached], {})

    def outcomes(self) -> Iterator[SimulatedFlash]:
        """All that may be there when the power comes back, if unsynced writes reach the flash in any order.

        Each change of names happened or not, each unsynced content is there by one of `TORN`, independently.
        """
        files = {id(file): file for file in (*self._cached.values(), *self._durable.values())}
        dirty = [file for file in files.values() if file.cached != file.durable]
        for kept in itertools.product((False, True), repeat=len(self._changes)):
            happened = [change for change, keep in zip(self._changes, kept, strict=True) if keep]
            for torn in itertools.product(TORN, repeat=len(dirty)):
                yield self._left(happened, {id(file): how for file, how in zip(dirty, torn, strict=True)})

    def _left(self, happened: Sequence[_Change], torn: dict[int, Torn]) -> SimulatedFlash:
        names = dict(self._durable)
        for change in happened:
            change.apply(names)
        fresh = SimulatedFlash()
        for name, file in names.items():
            data = _left_of(file, torn.get(id(file), self.torn))
            fresh._durable[name] = _File(data, data)
        fresh._cached = dict(fresh._durable)
        return fresh

    def read(self, name: str) -> bytes | None:
        if name in self.unreadable:
            raise StorageError(f"{name}: Input/output error: free some space or mend its permissions")
        file = self._cached.get(name)
        return None if file is None else file.cached

    def size(self, name: str) -> int | None:
        data = self.read(name)
        return None if data is None else len(data)

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self._cached if name.startswith(prefix))

    def write(self, name: str, data: bytes) -> None:
        self._put(name, data)

    def append(self, name: str, data: bytes) -> None:
        self._put(name, (self.read(name) or b"") + data)

    def sync(self, name: str) -> None:
        self._refuse(name)
        self._count(name)
        self._cached[name].durable = self._cached[name].cached

    def rename(self, old: str, new: str) -> None:
        self._refuse(new)
        self.unreadable -= {old, new}
        self._change(_Change((_folder(old), _folder(new)), removed=old, added=new, file=self._cached[old]))
        self._count(new)

    def delete(self, name: str) -> None:
        self._refuse(name)
        if name in self._cached:
            self._change(_Change((_folder(name),), removed=name))
        self._count(name)

    def sync_names(self, prefix: str) -> None:
        self._refuse(prefix)
        self._count(prefix)
        folder = _folder(prefix)
        waiting, self._changes = self._changes, []
        for change in waiting:
            if folder in change.folders:
                change.apply(self._durable)
            else:
                self._changes.append(change)

    def lock(self) -> AbstractContextManager[object]:
        return self._lock

    def flip(self, name: str, bit: int) -> None:
        """Flip one bit of what is stored under `name`, as wear does."""
        data = bytearray(self._cached[name].cached)
        data[bit // 8] ^= 1 << bit % 8
        self._cached[name].cached = self._cached[name].durable = bytes(data)

    def _put(self, name: str, data: bytes) -> None:
        self._refuse(name)
        if name not in self._cached:
            self._change(_Change((_folder(name),), added=name, file=_File(b"", b"")))
        self._cached[name].cached = data[: len(data) // 2] if self.calls in self.refused else data
        self._count(name)

    def _change(self, change: _Change) -> None:
        self._changes.append(change)
        change.apply(self._cached)

    def _refuse(self, name: str, why: str = "") -> None:
        if why := why or self.refuses:
            raise StorageError(f"{name}: {why}: free some space or mend its permissions")

    def _count(self, name: str) -> None:
        """End of a changing call: a cut, or an error, may find its work done in the cache, for all to see."""
        if self.calls == self.cut_at:
            raise PowerCutError(f"power cut at call {self.calls}")
        self.calls += 1
        if self.calls - 1 in self.refused:
            self._refuse(name, "Input/output error")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _left_of(file: _File, torn: Torn) -> bytes:
    # appending does not touch what was durable before; overwriting may
    kept = file.durable if file.cached.startswith(file.durable) else b""
    new = file.cached[len(kept) :]
    if torn == "nothing" or not new:
        return file.durable
    if torn == "half":
        return kept + new[: len(new) // 2]
    return kept + bytes(len(new)) if torn == "zeros" else file.cached
