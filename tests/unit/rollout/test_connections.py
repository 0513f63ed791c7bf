"""Connections that do not get their request across in time are given up; idle ones are not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import uvicorn

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


@asynccontextmanager
async def serving(guard: ConnectionGuard) -> AsyncIterator[int]:
    """A real server on loopback, in this loop."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        protocol = partial(GuardedProtocol, guard=guard)
        config = uvicorn.Config(echo, http=protocol, ws="none", lifespan="off", log_config=None)
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
