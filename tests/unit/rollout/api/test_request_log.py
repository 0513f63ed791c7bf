"""Every request has an id that its client and every line of its log share, and names its rollout."""

from __future__ import annotations

import asyncio
import json
import logging

from starlette.types import Message, Receive, Scope, Send

from acclimate import logs
from acclimate.rollout.api.metrics import ServiceMetrics
from acclimate.rollout.api.request_log import RequestLog

inside = logging.getLogger("acclimate.rollout.inside")


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, str]] = []
        self.setFormatter(logs.JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    inside.warning("inside")
    await send({"type": "http.response.start", "status": 204, "headers": []})


def ask(path: str, given: bytes) -> tuple[list[dict[str, str]], dict[bytes, bytes]]:
    lines, sent = Lines(), list[Message]()
    ours = logging.getLogger("acclimate")
    before = ours.level
    ours.addHandler(lines)
    ours.setLevel(logging.INFO)

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"x-request-id", given)]}
    try:
        asyncio.run(RequestLog(answer, ServiceMetrics(), https=False)(scope, receive, send))
    finally:
        ours.removeHandler(lines)
        ours.setLevel(before)
    return lines.lines, dict(sent[0]["headers"])


def test_every_line_of_a_request_has_its_id_and_its_rollout() -> None:
    lines, headers = ask("/api/v1/rollouts/r-12ab/pause", b"from-the-client")
    assert headers[b"x-request-id"] == b"from-the-client"
    assert [line["event"] for line in lines] == ["inside", "request"]
    assert {(line["request"], line["rollout"]) for line in lines} == {("from-the-client", "r-12ab")}


def test_an_id_that_would_forge_a_line_is_replaced() -> None:
    lines, headers = ask("/api/v1/fleets", b"x\nevent=forged")
    assert len(headers[b"x-request-id"]) == 16
    assert all("rollout" not in line for line in lines)
