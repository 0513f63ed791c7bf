"""The line to a microcontroller: frames over any stream of bytes, asked and answered one at a time.

A frame is a kind, a sequence number, a body and the CRC-32 of these, coded by COBS (Cheshire and Baker 1999)
so that no byte is zero, with a zero between frames. The other end is `device_sdk/mcu/acc_link.c`.
"""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from acclimate_device.errors import TransportError
from acclimate_device.protocol import LIMITS

BODY = 240
"""The most bytes of a body."""
_TIMES = 3
_ANSWER_S = 5.0
_FRAME = 512
_REPORT_BYTES = 16 * 1024
_LOST = (-7, -11)
"""What a child says to pieces of a blob that it knows nothing of, or not where it goes on."""


class Ask(IntEnum):
    """What a gateway asks of a child."""

    HELLO = 1
    BEGIN = 2
    DATA = 3
    FINISH = 4
    REPORT = 5
    REST = 6
    PREDICT = 7
    LEARN = 8
    RESET = 9
    SAVE = 10
    MOMENTS = 11
    NUMBERS = 12


REFUSALS = {
    -1: "the input holds NaN or infinity, or nothing varies",
    -2: "the input is far outside of what training saw",
    -3: "the label is none that it knows",
    -4: "its model gives NaN or infinity for the input",
    -5: "it holds no weights",
    -6: "its flash fails, or it has none",
    -7: "the blob is cut short",
    -8: "its firmware is of another network, or of an older export: export its C code again and flash it",
    -9: "the blob's counter is not above the one in use",
    -10: "the blob's signature is by nobody it trusts",
    -11: "it does not understand the request",
    -13: "it keeps fewer labelled examples than asked for",
    -14: "what its examples come to is not finite, or needs more than the round's 32 bits",
}
"""By the result codes of `acclimate.h`."""


class Stream(Protocol):
    """Bytes both ways; `read` gives what has come within `timeout_s`, which may be nothing."""

    def read(self, timeout_s: float) -> bytes: ...

    def write(self, data: bytes) -> None: ...


@dataclass(frozen=True)
class Hello:
    """What a child is.

    Attributes:
        topology: of its firmware, in hex.
        counter, version: of the weights in use.
        content_hash: of the initialization they are, in hex.
        adapted: whether adapted heads predict.
    """

    topology: str
    counter: int
    version: int
    content_hash: str
    adapted: bool


class Line:
    """One child at the end of a stream.

    Args:
        answer_s: seconds that an answer may take; what flash has to be erased for may take a minute.

    Raises:
        TransportError: no answer came, however often it was asked (from every method).
    """

    def __init__(
        self, stream: Stream, clock: Callable[[], float] = time.monotonic, answer_s: float = _ANSWER_S
    ) -> None:
        self._stream, self._clock, self._answer_s = stream, clock, answer_s
        self._sequence = random.randrange(256)  # another than of whoever held the line before
        self._rest = b""
        self._taken = 0  # checksum of the report that came last

    def hello(self) -> Hello:
        """Who is there."""
        _, body = self.ask(Ask.HELLO)
        if len(body) != 76:
            raise TransportError(f"the child answers {len(body)} bytes of who it is: its firmware is another")
        topology, counter, version, content, adapted = struct.unpack("<32sII32sI", body)
        return Hello(topology.hex(), counter, version, content.hex(), bool(adapted))

    def send_weights(self, blob: bytes) -> int:
        """A signed blob, in pieces; 0, or why it is refused (see `REFUSALS`).

        Raises:
            TransportError: the child was restarted meanwhile, or another gateway sends it a blob: that is no
                refusal, and may go well the next time.
        """
        told, _ = self.ask(Ask.BEGIN, struct.pack("<I", len(blob)), 60.0)
        if told:
            return told
        for at in range(0, len(blob), BODY - 4):
            told = told or self.ask(Ask.DATA, struct.pack("<I", at) + blob[at : at + BODY - 4])[0]
        told = told or self.ask(Ask.FINISH, b"", 60.0)[0]
        if told in _LOST:
            raise TransportError("the child lost the weights on the way: it was restarted, or two send to it")
        return told

    def report(self, started: int, ended: int) -> bytes:
        """The window's report as JSON; the child's next window begins.

        The child holds a report until the next one is asked for by this object: whoever else asks is given
        the one before first, with the times of its own window.

        Args:
            started, ended: Unix seconds that fit 32 bits.
        """
        size, _ = self.ask(Ask.REPORT, struct.pack("<III", started, ended, self._taken))
        if not 0 < size <= _REPORT_BYTES:
            raise TransportError(f"the child makes no report: {REFUSALS.get(size, f'it says {size}')}")
        report = self._parts(Ask.REST, size, 1, "report")
        self._taken = zlib.crc32(report)
        return report

    def moments(self, clip: float, bits: int, labels: int) -> tuple[int, bytes]:
        """How many numbers the child gives to a round, and these as little-endian 32-bit integers; or why it
        gives none (see `REFUSALS`).

        Args:
            clip: longest vector, L2.
            bits: after the point.
            labels: a child that keeps fewer examples gives none.
        """
        count, _ = self.ask(Ask.MOMENTS, struct.pack("<dII", clip, bits, labels), 60.0)
        if count > LIMITS.contribution_numbers:
            raise TransportError(f"the child has {count} numbers to give: its firmware is another")
        return count, self._parts(Ask.NUMBERS, 4 * count, 4, "numbers") if count > 0 else b""

    def _parts(self, kind: Ask, size: int, unit: int, what: str) -> bytes:
        """`size` bytes that the child holds ready, asked for by their place in units of so many bytes."""
        parts = b""
        while len(parts) < size:
            told, part = self.ask(kind, struct.pack("<I", len(parts) // unit))
            if told < 1 or not part or len(part) % unit:
                raise TransportError(f"the child lost its {what} on the way")
            parts += part
        return parts

    def reset(self) -> int:
        """Back to the fleet's start."""
        return self.ask(Ask.RESET)[0]

    def save(self) -> int:
        """Keep what was learnt."""
        return self.ask(Ask.SAVE)[0]

    def example(self, kind: Ask, data: bytes) -> tuple[int, bytes]:
        """Have an example predicted or learnt: the bytes of `acc_example`, to predict from `x` on."""
        told, body = 0, b""
        for at in range(0, len(data), BODY - 4):
            told, body = self.ask(kind, struct.pack("<I", at) + data[at : at + BODY - 4])
            if told < 0:
                break
        return told, body

    def ask(self, kind: Ask, body: bytes = b"", at_least_s: float = 0.0) -> tuple[int, bytes]:
        """The result and the body of the answer; asked again where none came, but for predictions. A child
        answers the frame that it obeyed last once more without obeying it twice."""
        self._sequence, answer_s = (self._sequence + 1) % 256, max(self._answer_s, at_least_s)
        frame = encoded(bytes((kind, self._sequence)) + body)
        for _ in range(1 if kind == Ask.PREDICT else _TIMES):
            self._stream.write(b"\0" + frame)  # a zero ends whatever noise there was
            answer = self._answer(kind, answer_s)
            if answer is not None:
                return answer
        raise TransportError(f"the child gives no answer to {kind.name.lower()} within {answer_s:g} s")

    def _answer(self, kind: Ask, answer_s: float) -> tuple[int, bytes] | None:
        until = self._clock() + answer_s
        while (left := until - self._clock()) > 0:
            frames = (self._rest + self._stream.read(left)).split(b"\0")
            self._rest = frames.pop()[-_FRAME:]
            for frame in frames:
                plain = decoded(frame)
                if (
                    plain is not None
                    and len(plain) >= 6
                    and plain[:2] == bytes((kind | 0x80, self._sequence))
                ):
                    return struct.unpack_from("<i", plain, 2)[0], plain[6:]
        return None


def encoded(plain: bytes) -> bytes:
    """A frame: the bytes and their checksum by COBS, and the zero that ends it."""
    plain += struct.pack("<I", zlib.crc32(plain))
    coded = bytearray()
    for part in plain.split(b"\0"):
        while len(part) >= 254:
            coded += b"\xff" + part[:254]
            part = part[254:]
        coded += bytes((len(part) + 1,)) + part
    return bytes(coded) + b"\0"


def decoded(frame: bytes) -> bytes | None:
    """The bytes of a frame without its zero; None where it is damaged."""
    plain, at = bytearray(), 0
    while at < len(frame):
        code = frame[at]
        if code == 0 or at + code > len(frame):
            return None
        plain += frame[at + 1 : at + code]
        at += code
        if code < 255 and at < len(frame):
            plain.append(0)
    if len(plain) < 4 or zlib.crc32(plain[:-4]) != struct.unpack("<I", plain[-4:])[0]:
        return None
    return bytes(plain[:-4])
