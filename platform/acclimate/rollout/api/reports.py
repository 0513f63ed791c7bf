"""Reports: `POST /device/v1/reports`, acknowledged only when they are durable.

Requests that arrive while a commit is under way share the next one, so that a fleet's reports cost few
commits and nobody waits for a timer. A commit that fails acknowledges nothing: devices keep their reports
and send them again, and each counts once by its id.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.metrics import ServiceMetrics
from acclimate.rollout.api.problems import ProblemError, why_unavailable
from acclimate.rollout.domain.report import ReportRecord, record
from acclimate.rollout.store import Store
from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import (
    LIMITS,
    Receipt,
    Refusal,
    Report,
    ReportBatch,
    Start,
    parse,
    read,
)

_ID = re.compile(r"[0-9a-f]{32}")
_HEAD, _TAIL = b'{"reports":[', b'],"schema":1'
log = logging.getLogger(__name__)


Settled = Callable[[Receipt | ProblemError], None]
"""Is told once what became of a delivery; on the event loop."""


@dataclass(slots=True)
class _Pending:
    records: Sequence[ReportRecord]
    receipt: Receipt
    settled: Settled


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
        metrics.waiting_reports.set_function(lambda: self._waiting)

    def take(self, fleet: str, device: str, delivery: Delivery, now: float, settled: Settled) -> None:
        """Store a batch, and say `settled` once it is durable: a receipt; or 503, where too many reports wait
        or the database refuses, and nothing was acknowledged."""
        rows = [record(fleet, device, now, one, text) for one, text in delivery.reports]
        receipt = Receipt(tuple([row.id for row in rows]), delivery.refused)
        if not rows:
            settled(receipt)
        elif self._waiting + len(rows) > self._max_waiting:
            settled(_unavailable("too many reports wait to be stored"))
        else:
            self._queue.append(_Pending(rows, receipt, settled))
            self._waiting += len(rows)
            self._arrived.set()

    async def run(self) -> None:
        """Commit what waits, for ever; what still waits when cancelled is not acknowledged."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._commit_group(self._next_group())

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
            await in_thread(self._store.add_reports, rows)
        except Exception as error:
            log.warning("reports-not-stored", extra={"reports": len(rows), "error": repr(error)})
            problem = _unavailable(why_unavailable(error))
        finally:
            self._waiting -= len(rows)
            self._metrics.commit_seconds.observe(time.monotonic() - started)
            self._metrics.commit_reports.observe(len(rows))
        tell = asyncio.get_running_loop().call_soon  # what fails for one request is no matter of the others
        for pending in group:
            tell(pending.settled, problem or pending.receipt)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request brought.

    Attributes:
        reports: each with its JSON text as it came, in ASCII: it keeps fields that only a newer reader knows.
        refused: those that can never be taken, and why.
        size: bytes of the whole batch as JSON.
        start: of the agent that posts, where it tells.
    """

    reports: Sequence[tuple[Report, str]]
    refused: tuple[Refusal, ...]
    size: int
    start: Start | None


def read_batch(body: bytes, encoding: str) -> Delivery:
    """The batch in a request's body, unpacked if it says so, never beyond the protocol's limit.

    A report that does not fit is refused by its id and the others are taken: a device drops it, instead of
    sending the same batch for ever.

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
        given = parse(ReportBatch, body, LIMITS.batch_bytes)
        batch, misfits = _apart(given)
    except ProtocolError as error:
        raise ProblemError(400, "malformed", str(error)) from None
    texts = _texts(body, given)
    objections = {one.id: objection(one, texts[one.id]) for one in batch.reports}
    refused = tuple(Refusal(named, reason) for named, reason in objections.items() if reason)
    taken = [(one, texts[one.id]) for one in batch.reports if not objections[one.id]]
    return Delivery(taken, misfits + refused, len(body), batch.start)


def _texts(body: bytes, given: Any) -> dict[str, str]:
    """Each report's own JSON. Of one alone it is what lies between the brackets, as it came."""
    reports = given["reports"]
    if len(reports) == 1 and body.startswith(_HEAD) and body.isascii() and _named(reports[0]):
        end = body.rfind(_TAIL)
        if _is_rest(body[end + 2 :], given):
            return {reports[0]["id"]: body[len(_HEAD) : end].decode()}
    return {one["id"]: json.dumps(one, separators=(",", ":")) for one in reports if _named(one)}


def _is_rest(text: bytes, given: Any) -> bool:
    """Whether `text`, with a brace before it, is the batch without its reports."""
    try:
        rest = json.loads(b"{" + text)
    except ValueError:
        return False
    return bool(rest == {name: value for name, value in given.items() if name != "reports"})


def _apart(given: Any) -> tuple[ReportBatch, tuple[Refusal, ...]]:
    """The batch of the reports that fit, and those that do not but say which they are.

    Raises:
        ProtocolError: the batch itself does not fit, or a report that does not fit has no id.
    """
    try:
        return read(ReportBatch, given), ()
    except ProtocolError:
        reports = given.get("reports") if isinstance(given, dict) else None
        if not isinstance(reports, list):
            raise
    fitting, misfits = [], []
    for index, one in enumerate(reports):
        try:
            read(Report, one)
            fitting.append(one)
        except ProtocolError as error:
            if not _named(one):
                raise ProtocolError(f"ReportBatch.reports[{index}]: {error}") from None
            misfits.append(Refusal(one["id"], str(error)[:1000]))
    return read(ReportBatch, {**given, "reports": fitting}), tuple(misfits[: LIMITS.batch_reports])


def _named(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("id"), str) and bool(_ID.fullmatch(one["id"]))


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


def objection(report: Report, text: str) -> str:
    """Why a well-formed report can never be taken; empty when it can."""
    if report.ended_at < report.started_at:
        return f"ended_at {report.ended_at:.0f} is before started_at {report.started_at:.0f}"
    if len(text) > LIMITS.report_bytes:
        return f"{len(text)} bytes, at most {LIMITS.report_bytes} are kept of one report"
    return ""


def _unavailable(detail: str) -> ProblemError:
    return ProblemError(
        503, "unavailable", f"{detail}: keep the reports and try again", {"Retry-After": "10"}
    )
