"""Reports: `POST /device/v1/reports`, acknowledged only when they are durable.

Requests that arrive while a commit is under way share the next one, so that a fleet's reports cost few
commits and nobody waits for a timer. A commit that fails acknowledges nothing: devices keep their reports
and send them again, and each counts once by its id.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread

from acclimate.rollout.api.metrics import ServiceMetrics
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.proofs import storable
from acclimate.rollout.domain.report import ReportRecord, record
from acclimate.rollout.store import Store
from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import (
    LIMITS,
    Receipt,
    Refusal,
    Report,
    ReportBatch,
    loads,
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending:
    records: Sequence[ReportRecord]
    done: asyncio.Future[None]


class ReportDesk:
    """Takes reports and commits them in groups.

    Args:
        max_waiting: reports waiting for a commit before more are refused with 503: memory stays bounded when
            the database does not keep up.
        max_group: reports in one commit.
    """

    def __init__(
        self, store: Store, metrics: ServiceMetrics, max_waiting: int = 20_000, max_group: int = 2_000
    ) -> None:
        self._store, self._metrics = store, metrics
        self._max_waiting, self._max_group = max_waiting, max_group
        self._queue: list[_Pending] = []
        self._waiting = 0
        self._arrived = asyncio.Event()

    async def take(
        self, fleet: str, device: str, batch: ReportBatch, texts: Sequence[str], now: float
    ) -> Receipt:
        """Store a batch; returns once it is durable.

        Args:
            texts: each report's JSON, to be kept as it came.

        Raises:
            ProblemError: 503, when too many reports wait or the database refuses; nothing was acknowledged.
        """
        refused = [Refusal(one.id, reason) for one in batch.reports if (reason := objection(one))]
        bad = {refusal.id for refusal in refused}
        rows = [
            record(fleet, device, now, one, text)
            for one, text in zip(batch.reports, texts, strict=True)
            if one.id not in bad
        ]
        if rows:
            await self._commit(rows)
        return Receipt(tuple(row.id for row in rows), tuple(refused))

    async def run(self) -> None:
        """Commit what waits, for ever; what still waits when cancelled is not acknowledged."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._commit_group(self._next_group())

    async def _commit(self, rows: Sequence[ReportRecord]) -> None:
        if self._waiting + len(rows) > self._max_waiting:
            raise _unavailable("too many reports wait to be stored")
        pending = _Pending(rows, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        self._waiting += len(rows)
        self._metrics.waiting_reports.set(self._waiting)
        self._arrived.set()
        await pending.done

    def _next_group(self) -> list[_Pending]:
        size = count = 0
        for pending in self._queue:
            if size and size + len(pending.records) > self._max_group:
                break
            size += len(pending.records)
            count += 1
        group, self._queue = self._queue[:count], self._queue[count:]
        return group

    async def _commit_group(self, group: list[_Pending]) -> None:
        rows = [row for pending in group for row in pending.records]
        started = time.monotonic()
        problem: ProblemError | None = None
        try:
            await to_thread.run_sync(self._store.add_reports, rows)
        except Exception as error:
            log.warning("reports-not-stored", extra={"reports": len(rows), "error": repr(error)})
            problem = _unavailable("the database cannot be reached")
        finally:
            self._waiting -= len(rows)
            self._metrics.waiting_reports.set(self._waiting)
            self._metrics.commit_seconds.observe(time.monotonic() - started)
        for pending in group:
            if pending.done.done():
                continue  # its client went away
            if problem is None:
                pending.done.set_result(None)
            else:
                pending.done.set_exception(problem)


def read_batch(body: bytes, encoding: str) -> tuple[ReportBatch, list[str]]:
    """The batch in a request's body, unpacked if it says so, never beyond the protocol's limit.

    Returns:
        the batch, and each report's JSON text in ASCII. Parsing a second time and printing by the C library
        costs a sixth of printing the dataclasses, and keeps fields that only a newer reader knows.

    Raises:
        ProblemError: 400, 413 or 415.
    """
    if encoding == "gzip":
        body = unpack(body, LIMITS.batch_bytes)
    elif encoding not in ("", "identity"):
        raise ProblemError(415, "encoded-body", f"Content-Encoding {encoding[:40]!r}: use gzip or none")
    if len(body) > LIMITS.batch_bytes:
        raise ProblemError(413, "too-large", f"send at most {LIMITS.batch_bytes} bytes at a time")
    try:
        batch = loads(ReportBatch, body, LIMITS.batch_bytes)
    except ProtocolError as error:
        raise ProblemError(400, "malformed", str(error)) from None
    if b"\\u" in body:  # only an escape can hide a character that databases refuse
        storable(batch)
    return batch, [json.dumps(one, separators=(",", ":")) for one in json.loads(body)["reports"]]


def unpack(body: bytes, max_bytes: int) -> bytes:
    """Unpack one gzip member of at most `max_bytes` bytes.

    Raises:
        ProblemError: 400 when damaged, 413 when it unpacks to more.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ProblemError(400, "malformed", f"not gzip ({error})") from None
    if len(unpacked) > max_bytes:
        raise ProblemError(413, "too-large", f"unpacks to more than {max_bytes} bytes: send fewer reports")
    if not unpacker.eof:
        raise ProblemError(400, "malformed", "the gzip data ends too early")
    return unpacked


def objection(report: Report) -> str:
    """Why a well-formed report can never be taken; empty when it can."""
    if report.ended_at < report.started_at:
        return f"ended_at {report.ended_at:.0f} is before started_at {report.started_at:.0f}"
    return ""


def _unavailable(detail: str) -> ProblemError:
    return ProblemError(
        503, "unavailable", f"{detail}: keep the reports and try again", {"Retry-After": "10"}
    )
