"""A small record that is always readable: two copies written in turn, each with a number and a checksum.

The copy with the higher number whose checksum holds is the record. Writing touches only the other copy, so
neither a power cut nor a worn block of the newer copy loses more than the last change.
"""

from __future__ import annotations

import hashlib
import struct

from acclimate_device.storage.flash import Flash, replace

_HEAD = struct.Struct(">4sQ")
_MAGIC = b"ACR1"


class Record:
    """Bytes under `name`, kept on `flash` as `name.0` and `name.1`."""

    def __init__(self, flash: Flash, name: str) -> None:
        self._flash, self._copies = flash, (f"{name}.0", f"{name}.1")

    def read(self) -> bytes | None:
        """The latest contents that are whole; None if there never were any, or both copies are damaged."""
        return self._latest()[1]

    def write(self, data: bytes) -> None:
        """Replace the contents; durable when this returns."""
        number = self._latest()[0] + 1
        body = _HEAD.pack(_MAGIC, number) + data
        replace(self._flash, self._copies[number % 2], body + hashlib.sha256(body).digest())

    def damaged(self) -> bool:
        """Whether a copy is there that cannot be read."""
        stored = [self._flash.read(copy) for copy in self._copies]
        return any(raw is not None and _open(raw) is None for raw in stored)

    def _latest(self) -> tuple[int, bytes | None]:
        opened = [_open(raw) for copy in self._copies if (raw := self._flash.read(copy)) is not None]
        return max((one for one in opened if one), key=lambda one: one[0], default=(0, None))


def _open(raw: bytes) -> tuple[int, bytes] | None:
    body, digest = raw[:-32], raw[-32:]
    if len(body) < _HEAD.size or hashlib.sha256(body).digest() != digest:
        return None
    magic, number = _HEAD.unpack_from(body)
    return (number, body[_HEAD.size :]) if magic == _MAGIC else None
