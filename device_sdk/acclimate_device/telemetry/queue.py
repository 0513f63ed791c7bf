"""The durable queue: reports wait in the store until the service has acknowledged them; none is ever dropped.

Reports lie in records named `<first>-<last>` by the numbers of what they hold: a new one in a record of its
own, older ones packed together and compressed, for they resemble each other. Three rules keep every report
exactly once, wherever the power is cut and whenever the flash refuses:

1. Only what is sealed is sent: a record says up to which number. Nothing sealed is ever merged, so sending it
   again sends the same ids with the same content, whether the service has them or not. While fewer than a
   batch waits, reports are sealed as they are queued: then they can be sent though the flash is full.
2. When the queue outgrows its bytes, neighbours among the unsealed reports are merged, oldest first.
3. A record inside the span of another is superseded and is removed, at once or after the next start.

What the flash refuses to take waits in memory and is tried again with the next report. What is damaged is set
aside by the store and stops nothing.
"""

from __future__ import annotations

import contextlib
import uuid
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from acclimate_device.errors import ProtocolError, StorageError
from acclimate_device.protocol import LIMITS, Report, canonical_json, dumps, loads
from acclimate_device.storage import Store
from acclimate_device.telemetry.merge import merge_reports, mergeable

_PREFIX = "outbox/"
_REPORT_BYTES = 64 * 1024
_SEALED = "sealed"
_HELD = 64
"""Reports kept apart in memory while the flash takes none; older ones are merged."""


@dataclass(frozen=True, order=True)
class Span:
    """The numbers of the reports in one record."""

    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.first:010d}-{self.last:010d}"

    def __contains__(self, other: Span) -> bool:
        return self.first <= other.first and other.last <= self.last

    @staticmethod
    def named(name: str) -> Span | None:
        """The span of a record's name; None for a name that is none."""
        first, _, last = name.partition("-")
        if not (name.isascii() and first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            return None
        span = Span(int(first), int(last))
        return span if span.name == name else None


@dataclass(frozen=True)
class Batch:
    """Sealed reports, to be sent as they are until they are acknowledged.

    Attributes:
        spans: of the records they lie in.
        reports: oldest first, at least one.
    """

    spans: tuple[Span, ...]
    reports: tuple[Report, ...]


class ReportQueue:
    """Reports in the store below `outbox/`. Threads and processes may share one.

    Args:
        max_bytes: what all records may take, both copies of each; beyond it, old reports are merged. The
            newest are kept as they are: of a full batch, less than about 400 kB has no effect.
        batch: reports sent at once.
        new_id: makes the id of a merged report.

    Attributes:
        trouble: why the flash took no report lately; empty while it does.
    """

    def __init__(
        self,
        store: Store,
        max_bytes: int = 3_000_000,
        batch: int = LIMITS.batch_reports,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._store, self._max_bytes = store, max_bytes
        self._batch, self._new_id = batch, new_id
        self._held: list[Report] = []
        self._begun: Span | None = None  # where the oldest held one can be read, though its write failed
        self._parsed: tuple[bytes | None, tuple[Report, ...]] = (
            None,
            (),
        )  # read to be sent, and to be removed
        self._settled: dict[Span, set[str]] = {}  # ids to be removed as soon as the flash takes it
        self.trouble = ""

    @property
    def held(self) -> int:
        """Reports that wait in memory because the flash takes none."""
        return len(self._held)

    def add(self, report: Report) -> None:
        """Append a report; it is durable when this returns, or is `held`, and `trouble` says why."""
        self._held.append(report)
        self.flush()
        while len(self._held) > _HELD:
            oldest, *others = self._held  # that one may be on flash already
            fewer = [oldest, *self._merged(others)]
            if len(fewer) == len(self._held):
                return
            self._held = fewer

    def flush(self) -> None:
        """Put what waits in memory on flash, if it takes it."""
        if not self._held:
            return
        try:
            with self._store.lock():
                spans = self._spans()
                sealed = self._put_held(spans, self._sealed(spans))
                self._tidy([span for span in spans if span.first > sealed], sealed)
            self.trouble = ""
        except StorageError as error:
            self.trouble = str(error)

    def next_batch(self) -> Batch | None:
        """The oldest reports, sealed: send them as they are.

        None if none wait, or if they cannot be sealed, which `trouble` tells then.

        Raises:
            StorageError: none of them can be read.
        """
        self.flush()
        unread: StorageError | None = None
        passed: set[Span] = set()
        with self._store.lock():
            self._remove_settled()
            while spans := self._to_send(passed):
                batch = Batch((), ())
                for span in spans:
                    try:
                        waiting = self._waiting(span)
                    except StorageError as error:
                        waiting, unread = (), error
                    if not waiting:
                        passed.add(span)
                    elif len(batch.reports) + len(waiting) <= self._batch or not batch.reports:
                        batch = Batch((*batch.spans, span), (*batch.reports, *waiting))
                    else:
                        break
                if batch.reports:
                    return batch
        if unread is not None:
            raise unread
        return None

    def acknowledge(self, batch: Batch, settled: Collection[str]) -> None:
        """Remove those reports of a batch whose ids the service accepted or will never take."""
        for span in batch.spans:
            self._settled.setdefault(span, set()).update(settled)
        with self._store.lock():
            self._remove_settled()

    def reports(self) -> tuple[Report, ...]:
        """All waiting reports, oldest first.

        Raises:
            StorageError: the queue cannot be read.
        """
        with self._store.lock():
            return tuple(report for span in self._spans() for report in self._read(span)) + tuple(self._held)

    def size(self) -> int:
        """What the queue takes on flash, in bytes."""
        return self._store.size(_PREFIX)

    def _put_held(self, spans: list[Span], sealed: int) -> int:
        """Move what is held to flash, behind `spans`; up to which number is sealed then.

        One that can be read though its write failed may be sent by another process: under another number, or
        merged, it would count twice, so it is written again where it is.
        """
        if self._begun is not None:
            begun, written = self._path(self._begun), dumps(self._held[0])
            if self._store.read(begun) == written:  # else it was packed, or sent
                self._store.write(begun, written)
            del self._held[0]
            self._begun = None
        while self._held:
            number = 1 + max(sealed, spans[-1].last if spans else -1)
            if len(spans) < self._batch and (not spans or spans[-1].last <= sealed):
                self._seal(sealed := number)
            spans.append(Span(number, number))
            written = dumps(self._held[0])
            try:
                self._store.write(self._path(spans[-1]), written)
            except StorageError:
                if self._store.read(self._path(spans[-1])) == written:
                    self._begun = spans[-1]
                raise
            del self._held[0]
        return sealed

    def _tidy(self, unsealed: list[Span], sealed: int) -> None:
        """Pack new reports once there is a batch of them; then merge old ones where all take too much."""
        fresh = [span for span in unsealed if span.first == span.last]
        if len(fresh) <= self._batch:
            return
        oldest = fresh[: self._batch]
        room = sum(self._store.size(self._path(span)) for span in oldest)  # as many come before the next pack
        self._replace(oldest, [report for span in oldest for report in self._read(span)])
        while self.size() > self._max_bytes - room and self._merge_once(sealed):
            pass

    def _merge_once(self, sealed: int) -> bool:
        """Merge two neighbouring packs, the finest and oldest first; whether any could be."""
        pairs = pairwise(span for span in self._spans() if span.first > sealed and span.first != span.last)
        for one, two in sorted(pairs, key=lambda pair: pair[1].last - pair[0].first):
            merged = self._merged((*self._read(one), *self._read(two)))
            if len(merged) <= self._batch:  # else they speak of too many versions
                self._replace([one, two], merged)
                return True
        return False

    def _replace(self, spans: Sequence[Span], reports: Sequence[Report], by: Span | None = None) -> None:
        whole = by or Span(spans[0].first, spans[-1].last)
        if reports:
            self._store.write(self._path(whole), _packed(reports))
        for span in spans:
            self._store.delete(self._path(span))

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

    def _spans(self) -> list[Span]:
        """The records in order, without those that were superseded, which are removed.

        What is in their place is written again first: whoever wrote it may have failed to sync it.
        """
        kept: list[Span] = []
        superseded: dict[Span, list[Span]] = {}
        for span in self._found():
            if kept and span in kept[-1]:
                superseded.setdefault(kept[-1], []).append(span)
            else:
                kept.append(span)
        for by, spans in superseded.items():
            with contextlib.suppress(StorageError):
                if reports := self._read(by):
                    self._replace(spans, reports, by)
        return kept

    def _found(self) -> list[Span]:
        """All records, each before those that it supersedes."""
        found = []
        for name in self._store.names(_PREFIX):
            span = Span.named(name.removeprefix(_PREFIX))
            if span is None:
                self._store.set_aside_record(name, "not a name of the queue's")
            else:
                found.append(span)
        return sorted(found, key=lambda span: (span.first, -span.last))

    def _remove_settled(self) -> None:
        """Remove what is settled, as far as the flash takes it: what a record supersedes goes before it."""
        for span in list(self._settled):
            try:
                left = self._waiting(span)
                if left and len(left) < len(self._read(span)):
                    self._store.write(self._path(span), _packed(left))
                elif not left:
                    for inner in reversed([one for one in self._found() if one in span]):
                        self._store.delete(self._path(inner))
                del self._settled[span]
            except StorageError as error:
                self.trouble = str(error)

    def _waiting(self, span: Span) -> tuple[Report, ...]:
        """The reports of a record that are not settled."""
        settled = self._settled.get(span, ())
        return tuple(report for report in self._read(span) if report.id not in settled)

    def _to_send(self, passed: Collection[Span]) -> tuple[Span, ...]:
        """What was sealed already, or else the oldest, which is sealed now: one pack, or new reports."""
        spans = self._spans()
        sealed = self._sealed(spans)
        spans = [span for span in spans if span not in passed]
        waiting = tuple(span for span in spans if span.last <= sealed)
        if waiting or not spans:
            return waiting
        fresh = tuple(takewhile(lambda span: span.first == span.last, spans[: self._batch]))
        chosen = fresh or tuple(spans[:1])
        try:
            self._seal(chosen[-1].last)
        except StorageError as error:
            self.trouble = str(error)
            return ()
        return chosen

    def _sealed(self, spans: Sequence[Span]) -> int:
        """The number up to which reports may have been sent; where the record of it is lost, all of them."""
        last = spans[-1].last if spans else -1
        with contextlib.suppress(StorageError):
            raw = self._store.read(_SEALED)
            if raw is not None and raw.isdigit():
                return int(raw)
            if spans:
                self._seal(last)
        return last

    def _seal(self, last: int) -> None:
        self._store.write(_SEALED, canonical_json(last))

    def _read(self, span: Span) -> tuple[Report, ...]:
        """The reports of a record; none of one that is damaged, which is set aside."""
        raw = self._store.read(self._path(span))
        if raw is None:
            return ()
        known, reports = self._parsed
        if raw == known:
            return reports
        try:
            reports = _unpacked(raw)
        except (ProtocolError, zlib.error):  # whole, but written by another version of this package
            self._store.set_aside_record(self._path(span), "its reports cannot be read")
            return ()
        self._parsed = raw, reports
        return reports

    def _path(self, span: Span) -> str:
        return _PREFIX + span.name


def _packed(reports: Sequence[Report]) -> bytes:
    return zlib.compress(b"\n".join(map(dumps, reports)))  # JSON holds no line feed


def _unpacked(raw: bytes) -> tuple[Report, ...]:
    lines = raw if raw.startswith(b"{") else zlib.decompress(raw)
    return tuple(loads(Report, line, _REPORT_BYTES) for line in lines.split(b"\n"))
