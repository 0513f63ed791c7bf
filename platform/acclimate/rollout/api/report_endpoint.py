"""`POST /device/v1/reports` as a bare ASGI application.

After polls it is what devices send most, and a framework's request and answer cost as much as checking a
report.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from acclimate.rollout.api.limits import RateLimit
from acclimate.rollout.api.machines import MachineDesk
from acclimate.rollout.api.problems import MEDIA_TYPE, ProblemError, from_exception
from acclimate.rollout.api.reports import ReportDesk, read_batch
from acclimate.rollout.api.state import Gatekeeper
from acclimate_device.protocol import Receipt, dumps


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json")]
        try:
            status, body = 200, dumps(await self._answer(scope, receive))
        except Exception as error:
            problem = from_exception(error)
            status, body = problem.status, problem.body()
            headers = [(b"content-type", MEDIA_TYPE.encode())]
            headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> Receipt:
        if scope["method"] != "POST":
            raise ProblemError(
                405, "method-not-allowed", "reports are handed in with POST", {"Allow": "POST"}
            )
        authorization, encoding = b"", ""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-encoding":
                encoding = value.decode("latin-1").strip().lower()
        access, _, _ = self._gatekeeper.admit(authorization, scope["method"], scope["path"])
        sent = await self._body(receive)
        self._gatekeeper.check_body(authorization, sent)
        delivery = read_batch(sent, encoding)
        self._report_bytes.take(f"{access.fleet} {access.device}", delivery.size)
        now = self._clock()
        await self._machines.reports(access.fleet, access.device, delivery.start, now)
        return await self._reports.take(access.fleet, access.device, delivery, now)

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
                detail = f"send at most {self._max_body_bytes} bytes at a time"
                raise ProblemError(413, "too-large", detail, {"Connection": "close"})
        return b"".join(parts)
