"""Records that outlive worn flash: each in two checksummed copies, mended from one another when read.

A copy is its number, the contents, and a checksum that covers the record's name too, so that a file under the
wrong name is no copy. The whole copy with the higher number is the record. A write replaces both copies, each
by write, sync and rename: a power cut leaves each of them old or new, and whole.

What is found damaged is moved below `aside/`, noted, and never in the way of anything else. A copy that
cannot be read is damage as well where the other one is whole; where it is not, it is trouble of the flash,
which may pass: nothing is moved then.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import struct
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from acclimate_device.errors import StorageError
from acclimate_device.storage.flash import Flash

CLOCK = "clock"
"""Record of the agent's: seconds by which the service's clock is ahead of the device's, as a JSON number."""

ROUND = "round"
"""Record of the agent's: what a campaign asks of this device, as a `Round`; there with consent alone."""
CONTRIBUTION = "contribution"
"""Record of the application's: its answer, as a `Contribution`, until the agent has sent it."""
CONTRIBUTED = "contributed"
"""Record of the agent's: the id of the campaign it answered last."""

_HEAD = struct.Struct(">4sQ")
_MAGIC, _NAMELESS = b"ACR2", b"ACR1"
"""Of copies as they are written, and of those before, whose checksum leaves out the name."""
_DIGEST_BYTES = 32
_SMALL_BYTES = 4096
_COPIES = (".0", ".1")
_FRESH = ".new"
_ASIDE = "aside/"
_ASIDE_FILES, _ASIDE_BYTES, _ASIDE_NAME = 16, 64 * 1024, 40


@dataclass(frozen=True)
class Mishap:
    """Something damaged that was found.

    Attributes:
        kind: `repaired` from the other copy, or `set_aside`, because there was none.
        name: of the record or file.
        detail: what was wrong.
    """

    kind: Literal["repaired", "set_aside"]
    name: str
    detail: str


@dataclass(frozen=True)
class _Copy:
    """One file of a record; `number` is 0 unless it is whole."""

    file: str
    number: int = 0
    data: bytes = b""
    fault: str = ""
    unreadable: bool = False


class Store:
    """Named records on one flash. Threads and processes may share it.

    Raises:
        StorageError: the flash refuses (from every method but `take_mishaps`).
    """

    def __init__(self, flash: Flash) -> None:
        self.flash = flash
        self._mishaps: list[Mishap] = []

    def lock(self) -> AbstractContextManager[object]:
        """Keeps others out of several calls; a thread that holds it may call every method."""
        return self.flash.lock()

    def read(self, name: str) -> bytes | None:
        """The latest contents; None if there never were any, or no copy is whole."""
        number, data = self._agreed(name) or self._mended(name)
        return data if number else None

    def write(self, name: str, data: bytes) -> None:
        """Replace the contents; durable in two places when this returns."""
        with self.lock():
            number = (self._agreed(name) or self._highest(name))[0] + 1
            self._put([f"{name}{ending}" for ending in _COPIES], _pack(name, number, data))

    def delete(self, name: str) -> None:
        """Remove a record; durable when this returns."""
        with self.lock():
            for ending in _COPIES:
                self.flash.delete(f"{name}{ending}")
            self.flash.sync_names(name)

    def names(self, prefix: str) -> list[str]:
        """The records whose names start with `prefix`, sorted. Files that are none are set aside."""
        with self.lock():
            names = set()
            for file in self.flash.names(prefix):
                if file.endswith(_COPIES):
                    names.add(file[: -len(_COPIES[0])])
                    continue
                with contextlib.suppress(StorageError):  # then it lies there for now, and is no record
                    if file.endswith(_FRESH):
                        self.flash.delete(file)  # a write that the power cut off
                    else:
                        self.set_aside(file, "not a file of this device's")
        return sorted(names)

    def size(self, prefix: str) -> int:
        """What the records whose names start with `prefix` take on flash, in bytes."""
        return sum(self.flash.size(file) or 0 for file in self.flash.names(prefix))

    def set_aside(self, file: str, reason: str) -> None:
        """Move a file out of the way; the newest few are kept for whoever wants to know."""
        with self.lock():
            kept = self.flash.names(_ASIDE)
            number = 1 + max((_number(name) for name in kept), default=0)
            if (self.flash.size(file) or 0) <= _ASIDE_BYTES:
                self.flash.rename(file, f"{_ASIDE}{number:06d}-{file.replace('/', '_')[-_ASIDE_NAME:]}")
                kept.append("")
            else:
                self.flash.delete(file)
            for old in kept[: max(0, len(kept) - _ASIDE_FILES)]:
                self.flash.delete(old)
            self.flash.sync_names(_ASIDE)
            self.flash.sync_names(file)
        self._note("set_aside", file, reason)

    def set_aside_record(self, name: str, reason: str) -> None:
        """Move both copies of a record out of the way, if the flash takes it."""
        with contextlib.suppress(StorageError):
            for ending in _COPIES:
                if self.flash.size(f"{name}{ending}") is not None:
                    self.set_aside(f"{name}{ending}", reason)

    def take_mishaps(self) -> list[Mishap]:
        """What was found damaged since the last call."""
        mishaps, self._mishaps = self._mishaps, []
        return mishaps

    def _agreed(self, name: str) -> tuple[int, bytes] | None:
        """Number and contents of both copies, 0 where there are none; None where they are not the same and
        whole. Most records are read again and again, and their copies hold the same bytes."""
        try:
            first, second = self.flash.read(name + _COPIES[0]), self.flash.read(name + _COPIES[1])
        except StorageError:
            return None
        if first != second:
            return None
        return (0, b"") if first is None else _checked(name, first)

    def _mended(self, name: str) -> tuple[int, bytes]:
        """Number and contents of the latest copy, from which the other is written again."""
        with self.lock():
            copies = self._copies(name)  # a writer may have been between its two copies
            if not _agree(copies):
                self._mend(name, copies)
        latest = _latest(copies)
        return latest.number, latest.data

    def _highest(self, name: str) -> tuple[int, bytes]:
        copies = self._copies(name)
        latest = _latest(copies)
        if not latest.number:
            _raise_unreadable(copies)  # their numbers may be higher
        return latest.number, latest.data

    def _copies(self, name: str) -> list[_Copy]:
        return [self._copy(name, f"{name}{ending}") for ending in _COPIES]

    def _copy(self, name: str, file: str) -> _Copy:
        try:
            raw = self.flash.read(file)
        except StorageError as error:
            return _Copy(file, fault=str(error), unreadable=True)
        if raw is None:
            return _Copy(file)
        found = _checked(name, raw)
        return _Copy(file, fault="its checksum does not hold") if found is None else _Copy(file, *found)

    def _mend(self, name: str, copies: list[_Copy]) -> None:
        latest = _latest(copies)
        if not latest.number:
            _raise_unreadable(copies)
            with contextlib.suppress(StorageError):  # then it lies there for now, and is no record
                for copy in copies:
                    if copy.fault:
                        self.set_aside(copy.file, copy.fault)
            return
        behind = [copy for copy in copies if copy.number != latest.number]
        try:
            for copy in behind:
                if copy.fault:
                    self.set_aside(copy.file, copy.fault)
            self._put([copy.file for copy in behind], _pack(name, latest.number, latest.data))
        except StorageError:
            return  # the flash refuses for now: one whole copy serves, the next reader tries again
        for copy in behind:
            if not copy.number:
                self._note("repaired", name, f"{copy.file}: {copy.fault or 'it was gone'}")

    def _put(self, files: list[str], body: bytes) -> None:
        for file in files:
            self.flash.write(f"{file}{_FRESH}", body)
            self.flash.sync(f"{file}{_FRESH}")
        for file in files:
            self.flash.rename(f"{file}{_FRESH}", file)
        self.flash.sync_names(files[0])

    def _note(self, kind: Literal["repaired", "set_aside"], name: str, detail: str) -> None:
        self._mishaps = [*self._mishaps[-63:], Mishap(kind, name, detail)]


def _agree(copies: list[_Copy]) -> bool:
    return copies[0].number == copies[1].number and not any(copy.fault for copy in copies)


def _latest(copies: list[_Copy]) -> _Copy:
    return max(copies, key=lambda copy: copy.number)


def _raise_unreadable(copies: list[_Copy]) -> None:
    for copy in copies:
        if copy.unreadable:
            raise StorageError(copy.fault)


def _number(aside: str) -> int:
    digits = aside.removeprefix(_ASIDE).partition("-")[0]
    return int(digits) if digits.isdecimal() and digits.isascii() else 0


def _pack(name: str, number: int, data: bytes) -> bytes:
    body = _HEAD.pack(_MAGIC, number) + data
    return body + _digest(name, body)


def _unpack(name: str, raw: bytes) -> tuple[int, bytes] | None:
    """Number and contents of a whole copy."""
    body, digest = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    if len(body) < _HEAD.size:
        return None
    magic, number = _HEAD.unpack_from(body)
    expected = _digest(name, body) if magic == _MAGIC else hashlib.sha256(body).digest()
    if magic not in (_MAGIC, _NAMELESS) or digest != expected or not number:
        return None
    return number, body[_HEAD.size :]


def _checked(name: str, raw: bytes) -> tuple[int, bytes] | None:
    """What `_unpack` gives; of the same small bytes, it is worked out once."""
    return _unpack_small(name, raw) if len(raw) <= _SMALL_BYTES else _unpack(name, raw)


_unpack_small = functools.lru_cache(64)(_unpack)


def _digest(name: str, body: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + body).digest()
