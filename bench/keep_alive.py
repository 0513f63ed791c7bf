"""Devices that keep their connections open, all on one replica: p99 of their polls, and what they take.

    python -m bench.keep_alive [--devices 20000] [--every 60] [--seconds 30]

Each has a connection of its own and polls once in `--every` seconds. Both processes need a descriptor for
each, so `ulimit -n` above their number.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

from bench.loadgen import Connection, Load, cpu_s, load_of, run
from bench.polls import ours, print_rounds

_AT_ONCE = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=20_000)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between a device's polls")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.devices + 1_000:
        raise SystemExit(f"{hard} descriptors are too few for {options.devices} connections: raise ulimit -n")
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, shared")
    os.environ["ACCLIMATE_CONNECTIONS_PER_ADDRESS"] = "0"  # here all come from one
    with (
        tempfile.TemporaryDirectory() as folder,
        ours(Path(folder), options.devices) as (port, pid, requests),
    ):
        before = memory_mib(pid)
        load = run(measure(port, pid, requests, options.every, options.seconds))
        print_rounds(f"{options.devices} connections", [load])
        print(f"memory {before:.0f} MiB before, {memory_mib(pid):.0f} MiB with all of them connected")
    print(f"load {os.getloadavg()[0]:.1f} at the end")


async def measure(port: int, pid: int, requests: list[bytes], every: float, seconds: float) -> Load:
    """Connect all, let each poll once, then poll at the rate that they have together."""
    connections: list[Connection] = []
    for first in range(0, len(requests), _AT_ONCE):
        made = await asyncio.gather(*(Connection.to(port) for _ in requests[first : first + _AT_ONCE]))
        connections += made
        await asyncio.gather(*(one.ask(requests[first + at]) for at, one in enumerate(made)))
    latencies: list[float] = []
    odd = 0

    async def poll(device: int, due: float) -> None:
        nonlocal odd
        status = await connections[device].ask(requests[device])
        odd += status != b"304"
        latencies.append(time.perf_counter() - due)

    count = int(min(seconds / every, 1.0) * len(requests))
    cpu, started = cpu_s(pid), time.perf_counter()
    tasks = []
    for device in range(count):
        due = started + device * every / len(requests)
        if (delay := due - time.perf_counter()) > 0.0005:
            await asyncio.sleep(delay)
        tasks.append(asyncio.create_task(poll(device, due)))
    await asyncio.gather(*tasks)
    return load_of(latencies, time.perf_counter() - started, cpu_s(pid) - cpu, odd)


def memory_mib(pid: int) -> float:
    """What a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
