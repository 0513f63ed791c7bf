"""Flash whose power can be cut at any call.

flash = SimulatedFlash(cut_at=7, torn="half")
with pytest.raises(PowerCutError):
    my_code(flash)
my_code(flash.after_power_cut())
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Torn = Literal["nothing", "half", "zeros", "everything"]
TORN: tuple[Torn, ...] = ("nothing", "half", "zeros", "everything")


class PowerCutError(BaseException):
    """The power went. Not an `Exception`: no error handling of the code under test may survive it."""


@dataclass(eq=False)
class _File:
    durable: bytes
    cached: bytes


@dataclass(frozen=True)
class _Change:
    """Of names: `removed` goes, `added` now leads to `file`."""

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
    """

    def __init__(self, cut_at: int | None = None, torn: Torn = "nothing") -> None:
        self.cut_at, self.torn = cut_at, torn
        self.calls = 0
        self._durable: dict[str, _File] = {}
        self._cached: dict[str, _File] = {}
        self._changes: list[_Change] = []
        self._lock = threading.Lock()

    def after_power_cut(self) -> SimulatedFlash:
        """What is there when the power comes back; that one is never cut again."""
        reached = {"half": len(self._changes) // 2, "everything": len(self._changes)}.get(self.torn, 0)
        names = dict(self._durable)
        for change in self._changes[:reached]:
            change.apply(names)
        fresh = SimulatedFlash()
        for name, file in names.items():
            data = self._left_of(file)
            fresh._durable[name] = _File(data, data)
        fresh._cached = dict(fresh._durable)
        return fresh

    def read(self, name: str) -> bytes | None:
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
        self._count()
        self._cached[name].durable = self._cached[name].cached

    def rename(self, old: str, new: str) -> None:
        self._change(_Change(removed=old, added=new, file=self._cached[old]))
        self._count()

    def delete(self, name: str) -> None:
        if name in self._cached:
            self._change(_Change(removed=name))
        self._count()

    def sync_names(self, prefix: str) -> None:
        self._count()
        self._durable = dict(self._cached)
        self._changes.clear()

    @contextmanager
    def lock(self) -> Iterator[None]:
        with self._lock:
            yield

    def flip(self, name: str, bit: int) -> None:
        """Flip one bit of what is stored under `name`, as wear does."""
        data = bytearray(self._cached[name].cached)
        data[bit // 8] ^= 1 << bit % 8
        self._cached[name].cached = self._cached[name].durable = bytes(data)

    def _put(self, name: str, data: bytes) -> None:
        if name not in self._cached:
            self._change(_Change(added=name, file=_File(b"", b"")))
        self._cached[name].cached = data
        self._count()

    def _change(self, change: _Change) -> None:
        self._changes.append(change)
        change.apply(self._cached)

    def _count(self) -> None:
        """End of a changing call: the cut may find its work done, in the cache."""
        if self.calls == self.cut_at:
            raise PowerCutError(f"power cut at call {self.calls}")
        self.calls += 1

    def _left_of(self, file: _File) -> bytes:
        # appending does not touch what was durable before; overwriting may
        kept = file.durable if file.cached.startswith(file.durable) else b""
        new = file.cached[len(kept) :]
        if self.torn == "nothing" or not new:
            return file.durable
        if self.torn == "half":
            return kept + new[: len(new) // 2]
        return kept + bytes(len(new)) if self.torn == "zeros" else file.cached
