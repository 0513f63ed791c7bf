"""Connections: how many, from whom, and how long one may take to say what it wants.

A connection costs a descriptor for as long as it lasts, and the database, the files and the log need some
too. So the process takes as many as the system grants, keeps a reserve, gives each address its share, and
closes a connection that does not get its request across in time.

What is answered from memory needs no task of its own: it is answered where its head ends, which costs less
than the server's way of asking an application. What needs a whole body first, and then waits for a group
commit, needs none either: it is taken where its body ends, and answered when its answer is there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from acclimate.rollout.api.limits import network_of

HEAD_S = 20.0
"""A request line and its headers must be there so soon after the connection, or after their first byte."""
BODY_S = 300.0
"""And its body so soon: half a megabyte over the slowest modem."""
HEAD_BYTES = 65_536
"""So much may come that is neither a whole head nor a part of a body: headers without end, or trailers."""
RESERVE = 128
"""Descriptors left for the database, files and the log."""

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 60\r\nconnection: close\r\n\r\n"
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
log = logging.getLogger(__name__)
Prompt = Callable[[Scope], tuple[int, list[tuple[bytes, bytes]], bytes]]
"""Status, headers and body of an answer to GET that waits for nothing; its length is among the headers."""
Reply = Callable[[int, list[tuple[bytes, bytes]], bytes], None]
"""Status, headers and body of the one answer to a request that was taken; on the event loop."""
Take = Callable[[Scope, bytes, Reply], None]
"""Takes a POST with its whole body, and replies at once or later. It never raises."""


class _Answered:
    """In the place of the server's record of a request that was answered at once: a body is passed over."""

    response_complete = True
    message_event = asyncio.Event()


_ANSWERED: Any = _Answered()


class _Taken:
    """In the place of the server's record of a request whose body is taken whole."""

    __slots__ = ("body", "disconnected", "keep_alive", "more_body", "response_complete", "take")
    message_event = asyncio.Event()  # which nobody waits for

    def __init__(self, take: Take) -> None:
        self.take, self.body = take, bytearray()
        self.more_body = self.keep_alive = True
        self.disconnected = self.response_complete = False


def raise_descriptor_limit() -> int:
    """Take as many descriptors as the system grants this process; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class ConnectionGuard:
    """Counts the connections of one process.

    Args:
        most: connections at once.
        most_per_address: of one client address; 0 means no limit.
        exempt: addresses and networks of proxies, which stand for many clients; `*` for all.
    """

    def __init__(self, most: int, most_per_address: int = 0, exempt: Sequence[str] = ()) -> None:
        self._most, self._most_per_address = most, most_per_address
        self._everyone = "*" in exempt
        self._exempt = [ipaddress.ip_network(one, strict=False) for one in exempt if _is_network(one)]
        self._by_address: Counter[str] = Counter()
        self.open = self.refused = self.timed_out = 0

    def admit(self, address: str) -> bool:
        """Count a connection in, unless there are too many; every admitted one must be `released`."""
        shared = self._everyone or not self._most_per_address or self._is_exempt(address)
        full = not shared and self._by_address[network_of(address)] >= self._most_per_address
        if self.open >= self._most or full:
            if not self.refused % 1000:
                told = {"address": address if full else "", "open": self.open, "refused": self.refused + 1}
                log.warning("connections-full", extra=told)
            self.refused += 1
            return False
        self.open += 1
        self._by_address[network_of(address)] += 1
        return True

    def release(self, address: str) -> None:
        """Count a connection out."""
        self.open -= 1
        key = network_of(address)
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]

    def _is_exempt(self, address: str) -> bool:
        try:
            host = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(host in network for network in self._exempt)


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, within a guard's limits.

    Args:
        prompt: answers from memory by path, which the application would give to others as well.
        taking: what takes whole requests by path, as the application would; longer ones are left to that.
    """

    def __init__(
        self,
        *given: Any,
        guard: ConnectionGuard,
        prompt: Mapping[bytes, Prompt] = MappingProxyType({}),
        taking: Mapping[bytes, Take] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        super().__init__(*given, **options)
        self._guard, self._prompt, self._taking = guard, prompt, taking
        self._address: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._in_body = False
        self._received = self._again = b""
        self._moved, self._unmoved = False, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self._guard.admit(address):
            transport.write(_FULL)
            transport.close()
            return
        self._address = address
        self._arm(HEAD_S)

    def data_received(self, data: bytes) -> None:
        if self._address is None:
            return
        self._moved = False
        while data:
            self._received, self._again = data, b""
            super().data_received(data)
            self._unmoved = 0 if self._moved else self._unmoved + len(data)
            data = self._again
        self._received = b""  # a connection that rests keeps none of it
        if self._unmoved > HEAD_BYTES and not self.transport.is_closing():
            if self._answered:  # within an answer it would be taken for a part of that one's body
                self.transport.write(_TOO_LONG)
            self.transport.close()
        if self._answered:  # most requests come whole: then the time to rest runs already
            if self._deadline is None and self.timeout_keep_alive_task is None:
                self._arm(HEAD_S)
        elif not self.cycle.more_body:
            self._disarm()
        elif not self._in_body:
            self._arm(BODY_S)
            self._in_body = True

    def on_headers_complete(self) -> None:
        self._moved = True
        if self.parser.should_upgrade():
            return
        usual = self._answered and not self.flow.write_paused and self.parser.should_keep_alive()
        if usual and self.parser.get_http_version() == "1.1":  # who keeps one of 1.0 must be told so
            if self._answer_promptly():
                return
            take = self._taking.get(self.url)
            if take is not None and self._is_short_post():
                self.cycle: Any = _Taken(take)
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        if not self.parser.should_upgrade():
            super().on_message_complete()
            if type(self.cycle) is _Taken and not self.cycle.more_body:
                self._begin(self.cycle)

    def _unsupported_upgrade_warning(self) -> None:
        """Pass over the offer of another protocol, as Java's HTTP client makes with every request.

        The parser takes what follows such a head for that protocol's, so the request would lose its body and
        the connection all later ones: a new parser reads the head without its offer, and then the rest
        (RFC 9110, section 7.8).
        """
        offer, method = sys.exc_info()[1], self.parser.get_method()
        if offer is None or method == b"CONNECT":
            self.send_400_response("This is no proxy.")
            return
        kept = [b"%b: %b\r\n" % each for each in self.headers if each[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        head = (method, b" ", self.url, b" HTTP/", version, b"\r\n", *kept, b"\r\n")
        self._again = b"".join((*head, self._received[offer.args[0] :]))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the server's own

    def _answer_promptly(self) -> bool:
        """Answer here and now, if that is all there is to do on this connection."""
        answer = self._prompt.get(self.url)
        if answer is None or self.parser.get_method() != b"GET":
            return False
        scope = {**self.scope, "method": "GET", "path": self.url.decode("ascii")}
        try:
            status, headers, body = answer(scope)
        except Exception:  # the server asks the application, and tells of what that raises
            return False
        self._write(status, headers, body)
        self.cycle = _ANSWERED
        self.on_response_complete()
        return True

    def _is_short_post(self) -> bool:
        """Whether its body is of a length that is told, not too long, and not held back."""
        if self.parser.get_method() != b"POST" or self.expect_100_continue:
            return False
        told = dict(self.headers).get(b"content-length", b"")
        return told.isdigit() and len(told) < 18 and int(told) <= HIGH_WATER_LIMIT

    def _begin(self, taken: _Taken) -> None:
        """Hand over what was taken; its place among the connection's requests is kept until its answer."""

        def reply(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
            if self.transport.is_closing():
                return
            if not taken.keep_alive:  # the server ends
                headers = [*headers, (b"connection", b"close")]
            self._write(status, headers, body)
            taken.response_complete = True
            if not taken.keep_alive:
                self.transport.close()
            self.on_response_complete()

        scope: Scope = {**self.scope, "method": "POST", "path": self.url.decode("ascii")}
        body = bytes(taken.body)
        taken.body.clear()
        taken.take(scope, body, reply)

    def _write(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))

    @property
    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        self._disarm()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._address is not None:
            self._guard.release(self._address)
            self._address = None
        super().connection_lost(exc)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        self._in_body = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self._guard.timed_out += 1
        log.debug("request-too-slow", extra={"address": self._address})
        self.transport.close()


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
