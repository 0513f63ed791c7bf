"""Connections that do not get their request across in time are given up; idle ones are not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from acclimate.rollout import connections
from acclimate.rollout.connections import ConnectionGuard, GuardedProtocol

pytestmark = pytest.mark.anyio
HEAD, WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(scope, receive, send):
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def prompt(scope):
    """What is answered from memory; as `echo` it is the same answer by the server's own way."""
    if (b"x-fault", b"1") in scope["headers"]:
        raise RuntimeError("a fault of ours")
    return 200, [(b"content-length", b"2"), (b"x-way", b"prompt")], b"ok"


@asynccontextmanager
async def serving(
    guard: ConnectionGuard, app: ASGIApp = echo, protocol: type = GuardedProtocol, **options: Any
) -> AsyncIterator[int]:
    """A real server on loopback, in this loop."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = partial(protocol, guard=guard, **options)
        config = uvicorn.Config(app, http=made, ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        await task


@pytest.mark.parametrize("sent", [b"", b"GET / HT", WHOLE[:-2], HEAD, HEAD + b"half"])
async def test_a_request_that_never_comes_is_given_up(sent: bytes, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    monkeypatch.setattr(connections, "BODY_S", 0.2)
    guard = ConnectionGuard(10)
    async with serving(guard) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
    assert (guard.open, guard.timed_out) == (0, 1)


async def test_between_requests_a_connection_may_rest_and_too_many_are_told(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    guard = ConnectionGuard(1)
    async with serving(guard) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        other, more = await asyncio.open_connection("127.0.0.1", port)
        assert b"503" in await asyncio.wait_for(other.read(), 60)
        await asyncio.sleep(0.5)  # longer than a head may take
        writer.write(WHOLE)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        for each in (writer, more):
            each.close()
    assert (guard.open, guard.refused, guard.timed_out) == (0, 1, 0)


GET, BODY = b"GET /now HTTP/1.1\r\nHost: x\r\n%b\r\n", b"Content-Length: 3\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


@pytest.mark.parametrize(
    ("chunks", "ways"),
    [
        ([GET % b""], "p"),
        ([GET % b""] * 3, "ppp"),
        ([(GET % b"") * 3], "ppp"),
        ([GET[:9], GET[9:] % b"", GET[:60] % b"", b""], "pp"),
        ([GET % BODY + b"abc" + GET % b""], "pp"),
        ([GET % BODY, b"abc" + GET % b""], "pp"),
        ([GET % CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + GET % b""], "pp"),
        ([WHOLE + GET % b"" + WHOLE], "sss"),  # the slow one's answer comes first
        ([HEAD + b"123456789", GET % b""], "sp"),
        ([GET.replace(b"GET", b"HEAD") % b"", GET % b""], "sp"),
        ([GET.replace(b"GET", b"POST") % BODY + b"abc"], "s"),
        ([GET.replace(b"1.1", b"1.0") % b""], "s"),
        ([GET.replace(b"1.1", b"1.0") % b"Connection: keep-alive\r\n"], "s"),
        ([GET % b"Connection: close\r\n"], "s"),
        ([GET.replace(b"now", b"now?a=1") % b""], "s"),
        ([GET % b"X-Fault: 1\r\n"], "s"),
        ([GET % OFFER, GET % OFFER + GET % b"", WHOLE], "ppps"),
    ],
)
async def test_what_is_answered_at_once_keeps_its_place_among_the_rest(chunks: list[bytes], ways: str):
    guard = ConnectionGuard(10)
    async with serving(guard, prompt={b"/now": prompt}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.02)
        found = ""
        for _ in ways:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert head.count(b"date: ") == 1
            found += "p" if b"x-way: prompt" in head else "s"
            if not chunks[0].startswith(b"HEAD") or found != "s":
                assert await reader.readexactly(2) == b"ok"
        assert found == ways
        writer.close()
    assert guard.timed_out == 0


@pytest.mark.parametrize("rest", [b"", b"ab", b"abc"])
async def test_a_body_that_dribbles_after_its_answer_holds_no_connection(rest: bytes, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    guard = ConnectionGuard(10)
    async with serving(guard, prompt={b"/now": prompt}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % BODY)
        await reader.readuntil(b"ok")
        if rest:
            writer.write(rest)
            assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
    assert (guard.open, guard.timed_out) == (0, bool(rest))


async def test_who_does_not_read_is_answered_no_further():
    guard, answered = ConnectionGuard(10), 0

    def large(scope):
        nonlocal answered
        answered += 1
        return 200, [(b"content-length", b"100000")], bytes(100_000)

    async with serving(guard, prompt={b"/now": large}) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((GET % b"") * 2000)
        await asyncio.sleep(0.5)
        assert 0 < answered < 200
        writer.transport.abort()


@pytest.mark.parametrize("offer", [OFFER, b"Connection: upgrade\r\nUpgrade: websocket\r\n"])
@pytest.mark.parametrize("body", [BODY + b"\r\nabc", CHUNKED + b"\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"])
@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_an_offer_of_another_protocol_costs_a_request_nothing(offer: bytes, body: bytes, piece: int):
    """As Java's client makes it with every request in clear."""
    sent = (b"POST / HTTP/1.1\r\nHost: x\r\n" + offer + body) * 9 + WHOLE
    bodies: list[bytes] = []

    async def kept(scope, receive, send):
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message["body"])
            more = message["more_body"]
        bodies.append(b"".join(parts))
        await echo(scope, no_body, send)

    async def no_body():
        return {"type": "http.request", "body": b""}

    async with serving(ConnectionGuard(10), kept) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for start in range(0, len(sent), piece):
            writer.write(sent[start : start + piece])
            await asyncio.sleep(0)
        for _ in range(10):
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), 20)).startswith(b"HTTP/1.1 200")
        writer.close()
    assert bodies == [b"abc"] * 9 + [b""]


async def test_it_is_no_proxy():
    async with serving(ConnectionGuard(10)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n" + WHOLE)
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 400")
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", b"a" * 8192),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-Many: 1\r\n" * 800),
        (b"GET /", b"a" * 8192),
        (b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n0\r\nX-Trailer: ", b"a" * 8192),
        (b"POST / HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n1;", b"a" * 8192),
    ],
)
async def test_a_head_without_end_takes_no_memory_without_end(sent: tuple[bytes, bytes]):
    first, again = sent
    guard = ConnectionGuard(10)
    async with serving(guard) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        with suppress(ConnectionError):
            for _ in range(400):
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(0.001)
                if guard.open == 0:
                    break
        assert guard.open == 0
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


async def test_heads_and_bodies_in_any_pieces_are_not_too_long():
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 60_000 + b"\r\nContent-Length: 900000\r\n\r\n"
    async with serving(ConnectionGuard(10)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            sent = head + b"b" * 900_000
            for start in range(0, len(sent), 40_000):
                writer.write(sent[start : start + 40_000])
                await writer.drain()
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), 20)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_an_answer_under_way_holds_no_other_within_it():
    async def slow(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"40")]})
        await send({"type": "http.response.body", "body": b"a" * 10, "more_body": True})
        await receive()
        await asyncio.sleep(2.0)
        await send({"type": "http.response.body", "body": b"b" * 30})

    async with serving(ConnectionGuard(10), slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)
        got = await asyncio.wait_for(reader.readuntil(b"a" * 10), 20)
        with suppress(ConnectionError):
            writer.write(WHOLE[:-2] + b"X-Long: " + b"c" * 80_000)
            got += await asyncio.wait_for(reader.read(), 20)
        assert got.count(b"HTTP/1.1") == 1
        writer.close()


async def test_a_connection_that_rests_keeps_nothing_of_what_it_sent():
    made: list[GuardedProtocol] = []

    class Kept(GuardedProtocol):
        def connection_made(self, transport):
            made.append(self)
            super().connection_made(transport)

    async with serving(ConnectionGuard(10), protocol=Kept) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + b"b" * 90_000)
        await asyncio.wait_for(reader.readuntil(b"ok"), 20)
        assert [one._received for one in made] == [b""]
        writer.close()


POST = b"POST /take HTTP/1.1\r\nHost: x\r\n%b\r\n"
LONG = b"x" * 70_000


class Desk:
    """Takes whole requests, and replies to all once as many have come as make a group."""

    def __init__(self, group: int) -> None:
        self.group, self.bodies, self._waiting = group, list[bytes](), list[Any]()

    def take(self, scope, body, reply):
        assert (scope["method"], scope["path"]) == ("POST", "/take")
        self.bodies.append(body)
        self._waiting.append(reply)
        if len(self._waiting) == self.group:
            for each in self._waiting:
                asyncio.get_running_loop().call_soon(
                    each, 200, [(b"content-length", b"2"), (b"x-way", b"taken")], b"ok"
                )
            self._waiting.clear()


@pytest.mark.parametrize(
    ("chunks", "ways"),
    [
        ([POST % BODY + b"abc"], "t"),
        ([POST % BODY + b"abc"] * 2, "tt"),
        ([(POST % BODY + b"abc") * 3], "tss"),  # behind one that waits others wait, as the server does it
        ([POST[:9], POST[9:] % BODY, b"a", b"bc" + POST % BODY + b"abc"], "ts"),
        ([POST % BODY + b"abc" + WHOLE, POST % BODY + b"abc"], "tst"),
        ([WHOLE + POST % BODY + b"abc"], "ss"),
        ([POST % b"Content-Length: 0\r\n"], "t"),
        ([POST % CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", POST % BODY + b"abc"], "st"),
        ([POST % b"Content-Length: 70000\r\n", LONG, POST % BODY + b"abc"], "st"),
        ([(POST % BODY).replace(b"1.1", b"1.0") + b"abc"], "s"),
        ([POST % (BODY + b"Connection: close\r\n") + b"abc"], "s"),
        ([POST.replace(b"POST", b"PUT") % BODY + b"abc"], "s"),
        ([POST.replace(b"/take", b"/take?a=1") % BODY + b"abc"], "s"),
        ([POST % (OFFER + BODY) + b"abc", POST % BODY + b"abc"], "tt"),
    ],
)
async def test_what_is_taken_whole_keeps_its_place_among_the_rest(chunks: list[bytes], ways: str):
    guard, desk = ConnectionGuard(10), Desk(group=1)
    async with serving(guard, taking={b"/take": desk.take}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.02)
        found = ""
        for _ in ways:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            assert (head.startswith(b"HTTP/1.1 200 OK\r\n"), head.count(b"date: ")) == (True, 1)
            found += "t" if b"x-way: taken" in head else "s"
            assert await reader.readexactly(2) == b"ok"
        assert found == ways
        length = 0 if b"Length: 0" in chunks[0] else 3
        assert desk.bodies == [b"abc"[:length]] * ways.count("t")
        writer.close()
    assert guard.timed_out == 0


async def test_requests_that_wait_for_one_commit_are_answered_by_it_and_who_left_is_no_matter():
    desk = Desk(group=3)
    async with serving(ConnectionGuard(10), taking={b"/take": desk.take}) as port:
        made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        made[1][1].write(POST % BODY + b"abc")
        await asyncio.sleep(0.05)
        made[1][1].transport.abort()
        for place in (0, 2):
            made[place][1].write(POST % BODY + b"abc")
        for place in (0, 2):
            assert (await asyncio.wait_for(made[place][0].readuntil(b"ok"), 20)).startswith(b"HTTP/1.1 200")
            made[place][1].close()


async def test_a_server_that_ends_answers_what_it_took_and_says_that_it_ends():
    desk = Desk(group=2)
    async with serving(ConnectionGuard(10), taking={b"/take": desk.take}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST % BODY + b"abc")
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().call_later(0.3, desk.take, *LAST)
    head = await asyncio.wait_for(reader.read(), 20)
    assert (head.startswith(b"HTTP/1.1 200"), b"connection: close" in head) == (True, True)
    writer.close()


LAST = ({"method": "POST", "path": "/take"}, b"", lambda *answer: None)


@pytest.mark.parametrize("rest", [b"", b"ab"])
async def test_a_body_that_is_taken_whole_must_come_in_time(rest: bytes, monkeypatch):
    monkeypatch.setattr(connections, "BODY_S", 0.2)
    guard, desk = ConnectionGuard(10), Desk(group=1)
    async with serving(guard, taking={b"/take": desk.take}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST % BODY + rest)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
    assert (guard.open, guard.timed_out, desk.bodies) == (0, 1, [])
