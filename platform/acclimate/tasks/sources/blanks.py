"""A file whose columns are parted by any number of blanks, as one whose columns are parted by a tab."""

from __future__ import annotations

import io
import re
from typing import Any

_READ_BYTES = 1 << 20


class WithoutBlanks(io.RawIOBase):
    """Reads a file's lines with every run of blanks as one tab, and none at a line's ends."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file, self._rest, self._ready = file, b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._file.read(_READ_BYTES)
            whole, newline, rest = (self._rest + block).rpartition(b"\n")
            if block:
                self._ready, self._rest = _tabbed(whole + newline), rest
            elif self._rest:
                self._ready, self._rest = _tabbed(self._rest), b""
            else:
                return 0
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _tabbed(lines: bytes) -> bytes:
    return re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t\r]+$", b"", lines))
