"""The durable queue: reports wait on flash until the service has acknowledged them; none is ever dropped.

Reports lie in segments, files named `<first>-<last>` by the numbers of what they hold. Three rules keep every
report exactly once, wherever the power is cut:

1. A segment is sealed (renamed, durably) before it is sent, and a sealed one never changes: whether the
   service has it or not, sending it again sends the same ids with the same content. One is sealed at a time.
2. When the queue outgrows its bytes, neighbours among the unsealed reports are merged, oldest first.
3. A merge of several segments writes one whose name spans theirs. A segment inside the span of another is
   superseded and is removed, at once or after the next start.

A full segment is compressed: reports resemble each other, so a week at one a minute fits the default.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from acclimate_device.protocol import LIMITS, Report, dumps, loads
from acclimate_device.storage import Flash, replace
from acclimate_device.telemetry.merge import merge_reports, mergeable

_FRAME = struct.Struct(">II")
_REPORT_BYTES = 64 * 1024
_OPEN_BYTES = 100_000
"""Kept free for the open segment, which is not compressed."""
_OPEN, _SEALED = ".open", ".sealed"


@dataclass(frozen=True, order=True)
class Segment:
    """A file of the queue: which numbers it spans, and whether it was sealed."""

    first: int
    last: int
    sealed: bool = False

    @property
    def name(self) -> str:
        return f"{self.first:010d}-{self.last:010d}{_SEALED if self.sealed else _OPEN}"

    @staticmethod
    def named(name: str) -> Segment | None:
        """The segment of a file name; None for a file that is none."""
        stem, dot, ending = name.partition(".")
        first, _, last = stem.partition("-")
        if not (first.isdigit() and last.isdigit() and dot + ending in (_OPEN, _SEALED)):
            return None
        return Segment(int(first), int(last), dot + ending == _SEALED)


class ReportQueue:
    """Reports on `flash` in the folder `prefix`. Threads and processes may share one.

    Args:
        max_bytes: what all segments may take; beyond it, old reports are merged. The latest 64 reports are
            kept as they are, so less than about 150 kB has no effect.
        batch: reports of one segment, which is what is sent at once.
        new_id: makes the id of a merged report.
    """

    def __init__(
        self,
        flash: Flash,
        max_bytes: int = 3_000_000,
        prefix: str = "outbox/",
        batch: int = LIMITS.batch_reports,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._flash, self._max_bytes, self._prefix = flash, max_bytes, prefix
        self._batch, self._new_id = batch, new_id
        self._latest: tuple[bytes, tuple[Report, ...]] = b"", ()

    def add(self, report: Report) -> None:
        """Append a report; it is durable when this returns."""
        with self._flash.lock():
            segments = self._segments()
            last = segments[-1] if segments else Segment(0, -1, sealed=True)
            raw = b"" if last.sealed else self._flash.read(self._path(last)) or b""
            held = _frames(raw)
            if last.sealed or len(held) >= self._batch or _compressed(held):
                if held:
                    self._write(last, _packed(b"".join(map(_frame, held))))
                self._append(Segment(last.last + 1, last.last + self._batch), [], 0, report)
                self._shrink()
            else:
                self._append(last, held, len(raw), report)

    def next_batch(self) -> tuple[Segment, tuple[Report, ...]] | None:
        """The oldest reports, sealed: send exactly these until they are acknowledged. None if none wait."""
        with self._flash.lock():
            segments = self._segments()
            segment = next((one for one in segments if one.sealed), segments[0] if segments else None)
            if segment is None:
                return None
            if not segment.sealed:
                sealed = Segment(segment.first, segment.last, sealed=True)
                self._flash.rename(self._path(segment), self._path(sealed))
                self._flash.sync_names(self._prefix)
                segment = sealed
            return segment, self._read(segment)

    def acknowledge(self, segment: Segment, settled: Collection[str]) -> None:
        """Remove the reports of a sealed segment whose ids the service accepted or will never take."""
        with self._flash.lock():
            left = tuple(report for report in self._read(segment) if report.id not in settled)
            if left:
                self._write(segment, _packed(_unpacked(left)))
            else:
                self._flash.delete(self._path(segment))
                self._flash.sync_names(self._prefix)
            self._latest = b"", ()

    def reports(self) -> tuple[Report, ...]:
        """All waiting reports, oldest first."""
        with self._flash.lock():
            return tuple(report for segment in self._segments() for report in self._read(segment))

    def size(self) -> int:
        """What the queue takes on flash."""
        return sum(self._flash.size(name) or 0 for name in self._flash.names(self._prefix))

    def _segments(self) -> list[Segment]:
        """The segments in order, without those a merge superseded, which are removed."""
        found = []
        for name in self._flash.names(self._prefix):
            segment = Segment.named(name.removeprefix(self._prefix))
            if segment is None:
                self._flash.delete(name)  # a replacement the power cut off
            else:
                found.append(segment)
        widest_first = sorted(found, key=lambda one: (one.first, -one.last))
        kept: list[Segment] = []
        for segment in widest_first:
            if kept and segment.last <= kept[-1].last:
                self._flash.delete(self._path(segment))
            else:
                kept.append(segment)
        return kept

    def _shrink(self) -> None:
        """Merge neighbours, the finest and oldest first, until the queue fits or nothing can be merged."""
        while self.size() > self._max_bytes - _OPEN_BYTES:
            closed = [one for one in self._segments()[:-1] if not one.sealed]
            pairs = [(one, two) for one, two in pairwise(closed) if one.last + 1 == two.first]
            if not pairs:
                return
            one, two = min(pairs, key=lambda pair: pair[1].last - pair[0].first)
            held = self._read(one) + self._read(two)
            merged = self._merged(held)
            if len(merged) > self._batch:
                return  # neighbours speak of different versions: few versions, so this stays small
            self._write(Segment(one.first, two.last), _packed(_unpacked(merged)))
            for superseded in (one, two):
                self._flash.delete(self._path(superseded))
            self._flash.sync_names(self._prefix)

    def _merged(self, reports: Sequence[Report]) -> tuple[Report, ...]:
        """Neighbours merged two by two."""
        result: list[Report] = []
        previous: Report | None = None
        for report in reports:
            if previous is not None and mergeable(previous, report):
                result.append(merge_reports(previous, report, self._new_id()))
                previous = None
            else:
                if previous is not None:
                    result.append(previous)
                previous = report
        return tuple(result) if previous is None else (*result, previous)

    def _append(self, segment: Segment, held: Sequence[bytes], length: int, report: Report) -> None:
        path, frame = self._path(segment), _frame(dumps(report))
        whole = b"".join(map(_frame, held))
        if length != len(whole):  # the power went while the last one was appended
            self._write(segment, whole + frame)
            return
        self._flash.append(path, frame)
        self._flash.sync(path)
        if not held:
            self._flash.sync_names(self._prefix)

    def _path(self, segment: Segment) -> str:
        return self._prefix + segment.name

    def _write(self, segment: Segment, data: bytes) -> None:
        replace(self._flash, self._path(segment), data)

    def _read(self, segment: Segment) -> tuple[Report, ...]:
        raw = self._flash.read(self._path(segment)) or b""
        if raw != self._latest[0]:  # what is sent is read again once it is acknowledged
            self._latest = raw, _parse(raw)
        return self._latest[1]


def _frame(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _unpacked(reports: Sequence[Report]) -> bytes:
    return b"".join(_frame(dumps(report)) for report in reports)


def _packed(frames: bytes) -> bytes:
    return _frame(zlib.compress(frames))


def _frames(data: bytes) -> list[bytes]:
    """The bodies of all whole frames from the start on."""
    bodies = []
    while len(data) >= _FRAME.size:
        length, checksum = _FRAME.unpack_from(data)
        body, data = data[_FRAME.size : _FRAME.size + length], data[_FRAME.size + length :]
        # a length of 0 with its checksum of 0 is what a block of zeros looks like
        if not length or len(body) != length or zlib.crc32(body) != checksum:
            break
        bodies.append(body)
    return bodies


def _compressed(bodies: Sequence[bytes]) -> bool:
    """Whether a segment was full once: it takes no more."""
    return any(not body.startswith(b"{") for body in bodies)


def _parse(data: bytes) -> tuple[Report, ...]:
    reports: list[Report] = []
    for body in _frames(data):
        if body.startswith(b"{"):
            reports.append(loads(Report, body, _REPORT_BYTES))
        else:
            reports.extend(_parse(zlib.decompress(body)))
    return tuple(reports)
