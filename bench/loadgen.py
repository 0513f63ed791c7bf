"""Load over loopback for the service benchmarks: closed loop (as fast as answers come) and open loop (fixed
arrivals, latency from the intended start, so that a slow server cannot hide behind a slow client).

Raw sockets and prepared requests: the client must cost less than any server it measures.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast


@dataclass(frozen=True)
class Load:
    """What one run measured: answers a second, latencies, server CPU an answer, answers not
    expected, and answers."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    odd: int
    count: int


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.answered: asyncio.Future[bytes] | None = None

    @classmethod
    async def to(cls, port: int) -> Connection:
        """One to a server on loopback."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's derives from none of asyncio's

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) >= end + 4 + length and self.answered is not None:
            status = bytes(self.buffer[9:12])
            del self.buffer[: end + 4 + length]
            self.answered.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(b"000")

    async def ask(self, request: bytes) -> bytes:
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answered


def closed_loop(
    port: int, requests: Sequence[bytes], expected: bytes, seconds: float, pid: int, connections: int = 32
) -> Load:
    """`connections` clients, each asking again as soon as it was answered."""

    async def measure() -> Load:
        latencies: list[float] = []
        odd = 0
        until = time.perf_counter() + seconds

        async def client(number: int) -> None:
            nonlocal odd
            connection = await Connection.to(port)
            index = number
            while (started := time.perf_counter()) < until:
                status = await connection.ask(requests[index % len(requests)])
                odd += status != expected  # of one moment: before an `await` it would be another's count
                latencies.append(time.perf_counter() - started)
                index += connections
            connection.transport.close()

        cpu, started = cpu_s(pid), time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(connections)))
        elapsed = time.perf_counter() - started
        return load_of(latencies, elapsed, cpu_s(pid) - cpu, odd)

    return run(measure())


def open_loop(
    port: int, requests: Sequence[bytes], expected: bytes, rate: float, seconds: float, pid: int
) -> Load:
    """`rate` requests a second whatever happens; those without a free connection wait, and that counts."""

    async def measure() -> Load:
        free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for _ in range(64):
            free.put_nowait(await Connection.to(port))
        latencies: list[float] = []
        odd = 0

        async def one(request: bytes, intended: float) -> None:
            nonlocal odd
            connection = await free.get()
            status = await connection.ask(request)
            odd += status != expected
            latencies.append(time.perf_counter() - intended)
            free.put_nowait(connection)

        cpu, started = cpu_s(pid), time.perf_counter()
        tasks = []
        for index in range(int(rate * seconds)):
            intended = started + index / rate
            delay = intended - time.perf_counter()
            if delay > 0.0005:
                await asyncio.sleep(delay)
            tasks.append(asyncio.create_task(one(requests[index % len(requests)], intended)))
        await asyncio.wait(tasks, timeout=30)
        elapsed = time.perf_counter() - started
        unanswered = sum(not task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        return load_of(latencies + [math.inf] * unanswered, elapsed, cpu_s(pid) - cpu, odd)

    return run(measure())


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of those it started, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / 100


def load_of(latencies: list[float], elapsed: float, cpu: float, odd: int) -> Load:
    """Of latencies in seconds, infinite where no answer came."""
    ordered = sorted(latencies) or [math.inf]

    def quantile(share: float) -> float:
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000

    count = max(sum(map(math.isfinite, ordered)), 1)
    return Load(count / elapsed, quantile(0.5), quantile(0.99), cpu / count * 1e6, odd, count)


def run(main: Coroutine[None, None, Load]) -> Load:
    """On the quickest event loop."""
    import uvloop

    return uvloop.run(main)
