"""Around every request but polls: its id, its log line, its metrics, and headers that every answer has."""

from __future__ import annotations

import functools
import logging
import random
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acclimate.logs import bound
from acclimate.rollout.api.metrics import ServiceMetrics
from acclimate.rollout.connections import Reply, Take

log = logging.getLogger(__name__)
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ROLLOUT = re.compile(r"/rollouts/([A-Za-z0-9_-]{1,64})")
_QUIET = ("/healthz", "/readyz", "/metrics")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLog:
    """ASGI middleware.

    Args:
        https: whether clients speak HTTPS; only then may they be told to insist on it.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, https: bool) -> None:
        self._app = app
        self._requests = functools.cache(metrics.requests.labels)  # of few values each
        self._seconds = functools.cache(metrics.request_seconds.labels)
        self._headers = [(b"x-content-type-options", b"nosniff")]
        if https:
            self._headers.append((b"strict-transport-security", b"max-age=31536000"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = _identity(scope)
        started, status = time.perf_counter(), 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    *self._headers,
                    (b"x-request-id", identity.encode()),
                ]
            await send(message)

        with bound(request=identity, **_rollout(scope["path"])):
            try:
                await self._app(scope, receive, observed)
            finally:
                self._note(scope, status, time.perf_counter() - started)

    def around(self, take: Take) -> Take:
        """The same around what takes requests from the server itself."""

        def observed(scope: Scope, body: bytes, reply: Reply) -> None:
            identity, started = _identity(scope), time.perf_counter()

            def told(status: int, headers: list[tuple[bytes, bytes]], answer: bytes) -> None:
                with bound(request=identity):
                    self._note(scope, status, time.perf_counter() - started)
                reply(status, [*headers, *self._headers, (b"x-request-id", identity.encode())], answer)

            with bound(request=identity):
                take(scope, body, told)

        return observed

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"]
        side = side_of(path)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests(side, method, str(status)).inc()
        self._seconds(side).observe(seconds)
        level = logging.DEBUG if path in _QUIET or side == "device" else logging.INFO
        if not log.isEnabledFor(level):
            return
        about = {"method": method, "path": path[:200], "status": status, "ms": round(seconds * 1000, 1)}
        log.log(level, "request", extra=about)


def side_of(path: str) -> str:
    """Which part of the service a path belongs to: few values, for metrics."""
    for side in ("device", "api", "console"):
        if path.startswith(f"/{side}/"):
            return side
    return "other"


def _rollout(path: str) -> dict[str, str]:
    """The rollout that a request is about, if its path names one."""
    found = _ROLLOUT.search(path) if "/rollouts/" in path else None
    return {"rollout": found[1]} if found else {}


def _identity(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return str(value.decode())
    return f"{random.getrandbits(64):016x}"  # to find lines that belong together, no secret
