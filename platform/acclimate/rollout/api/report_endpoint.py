"""`POST /device/v1/reports`, from the server itself or as a bare ASGI application.

After polls it is what devices send most, and a framework's request and answer cost as much as checking a
report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from acclimate.rollout.api.limits import RateLimit
from acclimate.rollout.api.machines import MachineDesk
from acclimate.rollout.api.problems import MEDIA_TYPE, ProblemError, from_exception
from acclimate.rollout.api.reports import Delivery, ReportDesk, read_batch
from acclimate.rollout.api.state import Gatekeeper, pace_of
from acclimate.rollout.api.tokens import Access
from acclimate.rollout.connections import Reply
from acclimate_device.protocol import Receipt, Start, dumps

_JSON, _PROBLEM = (b"content-type", b"application/json"), (b"content-type", MEDIA_TYPE.encode())


class ReportEndpoint:
    """Reports in, receipt out once they are durable.

    Args:
        report_bytes: by device, of reports as they are stored: a small body unpacks into a large one.
        max_body_bytes: of a request as it comes.
        clock: Unix seconds.
    """

    def __init__(
        self,
        reports: ReportDesk,
        gatekeeper: Gatekeeper,
        machines: MachineDesk,
        report_bytes: RateLimit,
        max_body_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._reports, self._gatekeeper, self._report_bytes = reports, gatekeeper, report_bytes
        self._machines = machines
        self._max_body_bytes, self._clock = max_body_bytes, clock
        self._judging: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def reply(*answer: Any) -> None:
            if not answered.done():  # else its client went away
                answered.set_result(answer)

        try:
            access = self._admit(scope)
            body = await self._body(receive)
        except Exception as error:
            _refuse(error, reply)
        else:
            self._take(scope, access, body, reply)
        status, headers, content = await answered
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def take(self, scope: Scope, body: bytes, reply: Reply) -> None:
        """Reply once the reports of a whole request are durable, or at once why they are not taken."""
        try:
            access = self._admit(scope)
            if len(body) > self._max_body_bytes:
                raise self._too_large()
        except Exception as error:
            _refuse(error, reply)
        else:
            self._take(scope, access, body, reply)

    def _admit(self, scope: Scope) -> Access:
        if scope["method"] != "POST":
            raise ProblemError(
                405, "method-not-allowed", "reports are handed in with POST", {"Allow": "POST"}
            )
        access, _, _ = self._gatekeeper.admit(
            _header(scope, b"authorization"), scope["method"], scope["path"]
        )
        return access

    def _take(self, scope: Scope, access: Access, body: bytes, reply: Reply) -> None:
        now = self._clock()
        try:
            self._gatekeeper.check_body(_header(scope, b"authorization"), body)
            delivery = read_batch(body, _header(scope, b"content-encoding").decode("latin-1").strip().lower())
            self._report_bytes.take(pace_of(access), delivery.size)
        except Exception as error:
            _refuse(error, reply)
            return
        start = delivery.start
        if start is None or self._machines.believes(access.fleet, access.device, start):
            self._hand_in(access, delivery, now, reply)
            return
        judged = asyncio.create_task(self._judged(access, start, delivery, now, reply))
        self._judging.add(judged)
        judged.add_done_callback(self._judging.discard)

    async def _judged(
        self, access: Access, start: Start, delivery: Delivery, now: float, reply: Reply
    ) -> None:
        """Hand in once the store has said which machine it is that posts."""
        try:
            await self._machines.reports(access.fleet, access.device, start, now)
        except Exception as error:
            _refuse(error, reply)
        else:
            self._hand_in(access, delivery, now, reply)

    def _hand_in(self, access: Access, delivery: Delivery, now: float, reply: Reply) -> None:
        def settled(outcome: Receipt | ProblemError) -> None:
            if isinstance(outcome, ProblemError):
                _refuse(outcome, reply)
                return
            body = dumps(outcome)
            reply(200, [_JSON, (b"content-length", b"%d" % len(body))], body)

        self._reports.take(access.fleet, access.device, delivery, now, settled)

    async def _body(self, receive: Receive) -> bytes:
        parts, size, more = list[bytes](), 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ProblemError(400, "malformed", "the request ended before its body did")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self._max_body_bytes:
                raise self._too_large()
        return b"".join(parts)

    def _too_large(self) -> ProblemError:
        detail = f"send at most {self._max_body_bytes} bytes at a time"
        return ProblemError(413, "too-large", detail, {"Connection": "close"})


def _header(scope: Scope, wanted: bytes) -> bytes:
    """Its last value; empty where there is none."""
    return next((value for name, value in reversed(scope["headers"]) if name == wanted), b"")


def _refuse(error: Exception, reply: Reply) -> None:
    problem = from_exception(error)
    body = problem.body()
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    reply(problem.status, [_PROBLEM, *headers, (b"content-length", b"%d" % len(body))], body)
