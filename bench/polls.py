"""Polls a second, CPU a poll and p99 at 1,000 polls/s: this service beside goosebit and a bare ASGI answer,
interleaved, in one run.

    python -m bench.polls [--peer /path/to/venv-with-goosebit] [--rounds 3] [--seconds 4]

Both run one worker on embedded SQLite as they are shipped, and answer devices that are up to date: goosebit
its DDI poll, ours 304 by entity tag. Our devices carry a bearer token each, and limits are on.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.tokens import Access, AccessTokens
from acclimate.rollout.domain.fleet import Device, Fleet
from acclimate.rollout.store import open_store
from acclimate_device.protocol import STATE_PATH, Release
from bench.loadgen import Load, closed_loop, open_loop
from tests.support.ports import free_port

DEVICES = 10_000
PEER_DEVICES = 200
OPEN_RATE = 1000.0
_PEER_SCHEMA = """
import asyncio
from tortoise import Tortoise
from goosebit.db.config import TORTOISE_CONF
async def main():
    await Tortoise.init(TORTOISE_CONF)
    await Tortoise.generate_schemas()
    from goosebit.db.models import Device, Hardware, UpdateStateEnum
    hardware = await Hardware.create(model="default", revision="default")
    for index in range(%d):
        state = UpdateStateEnum.FINISHED
        await Device.create(id=f"device-{index}", hardware=hardware, last_state=state)
    await Tortoise.close_connections()
asyncio.run(main())
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, default=Path("/work/venvs/goosebit"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, shared")
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder)) as (our_port, our_pid, our_requests):
        beside_bare(options.rounds, options.seconds, Path(folder), our_port, our_pid, our_requests)
        if not (options.peer / "bin" / "python").exists():
            print(f"no goosebit in {options.peer}")
            return
        with goosebit(Path(folder), options.peer) as (peer_port, peer_pid, peer_requests):
            pairs = []
            for _ in range(options.rounds):
                theirs = closed_loop(peer_port, peer_requests, b"200", options.seconds, peer_pid)
                mine = closed_loop(our_port, our_requests, b"304", options.seconds, our_pid)
                pairs.append((theirs, mine))
            print_rounds("goosebit, idle device", [theirs for theirs, _ in pairs])
            print_rounds("ours, idle device", [mine for _, mine in pairs])
            for name, ratios in (
                ("polls/s", [mine.rate / theirs.rate for theirs, mine in pairs]),
                ("CPU a poll", [theirs.cpu_us / mine.cpu_us for theirs, mine in pairs]),
            ):
                spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
                print(f"ratio, {name}: {statistics.median(ratios):.1f} times ({spread})")
            print(f"open loop, {OPEN_RATE:.0f} polls/s intended:")
            for _ in range(options.rounds):
                mine = open_loop(our_port, our_requests, b"304", OPEN_RATE, options.seconds, our_pid)
                print_rounds("  ours", [mine])
            theirs = open_loop(peer_port, peer_requests, b"200", OPEN_RATE, 2.0, peer_pid)
            print_rounds("  goosebit, 2 s of it", [theirs])
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def beside_bare(
    rounds: int, seconds: float, folder: Path, port: int, pid: int, requests: list[bytes]
) -> None:
    """Our polls beside the least that an ASGI application can answer under the same server."""
    bare_port = free_port()
    command = [sys.executable, "-m", "bench.bare_asgi", str(bare_port)]
    with started(command, dict(os.environ), folder, f"http://127.0.0.1:{bare_port}/readyz") as bare_pid:
        pairs = []
        for _ in range(rounds):
            bare = closed_loop(bare_port, requests, b"304", seconds, bare_pid)
            pairs.append((bare, closed_loop(port, requests, b"304", seconds, pid)))
    print_rounds("bare ASGI answer", [bare for bare, _ in pairs])
    print_rounds("ours, idle device", [mine for _, mine in pairs])
    for name, ratios in (
        ("polls/s", [mine.rate / bare.rate for bare, mine in pairs]),
        ("CPU of a bare answer over a poll's", [bare.cpu_us / mine.cpu_us for bare, mine in pairs]),
    ):
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"ratio to bare, {name}: {statistics.median(ratios):.2f} ({spread})")


def print_rounds(name: str, loads: list[Load]) -> None:
    """One line: medians, with the range of the rate."""
    rates = [load.rate for load in loads]
    names = ("p50_ms", "p99_ms", "cpu_us")
    p50, p99, cpu = (statistics.median(getattr(load, field) for load in loads) for field in names)
    print(
        f"{name:24} {statistics.median(rates):8.0f}/s ({min(rates):.0f} to {max(rates):.0f})  "
        f"p50 {p50:.2f} ms  p99 {p99:.2f} ms  CPU {cpu:.0f} µs  odd {sum(one.odd for one in loads)}"
    )


@contextmanager
def ours(folder: Path, count: int = DEVICES) -> Iterator[tuple[int, int, list[bytes]]]:
    """`acclimate serve` with a fleet of enrolled devices."""
    home, port = folder / "acclimate", free_port()
    home.mkdir()
    store = open_store(f"sqlite:///{home / 'rollout.db'}")
    now = time.time()
    store.add_fleet(Fleet("bench", created_at=now), "bench")
    devices = [Device("bench", f"d-{index:06d}", f"{index:064x}", now) for index in range(count)]
    store.add_devices(devices, now, "bench")
    store.set_baseline("bench", "", Release("press", 1, "a" * 64), now, "bench")
    store.close()
    tokens = AccessTokens(ServiceKey.load_or_create(home / "service-key.pem").derive("device access tokens"))
    environment = os.environ | {"ACCLIMATE_HOME": str(home), "ACCLIMATE_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "acclimate", "serve", "--port", str(port)]
    with started(command, environment, folder, f"http://127.0.0.1:{port}/readyz") as pid:
        bearers = [tokens.issue(Access("bench", device.id, 1, int(now) + 3600)) for device in devices]
        tag = first_tag(port, bearers[0])
        headers = "Host: bench\r\nAuthorization: Bearer {}\r\nIf-None-Match: {}\r\n\r\n"
        line = f"GET {STATE_PATH} HTTP/1.1\r\n" + headers
        yield port, pid, [line.format(bearer, tag).encode() for bearer in bearers]


@contextmanager
def goosebit(folder: Path, venv: Path) -> Iterator[tuple[int, int, list[bytes]]]:
    """goosebit as shipped, with registered devices."""
    port, home = free_port(), folder / "goosebit"
    home.mkdir()
    environment = os.environ | {
        "GOOSEBIT_PORT": str(port),
        "GOOSEBIT_DB_URI": f"sqlite://{home / 'db.sqlite3'}",
        "PYTHONPATH": "",
    }
    python = str(venv / "bin" / "python")
    subprocess.run([python, "-c", _PEER_SCHEMA % PEER_DEVICES], env=environment, cwd=home, check=True)
    path = "/DEFAULT/controller/v1/device-{}"
    url = f"http://127.0.0.1:{port}{path.format(0)}"
    with started([python, "-m", "goosebit"], environment, home, url) as pid:
        line = "GET " + path + " HTTP/1.1\r\nHost: bench\r\n\r\n"
        yield port, pid, [line.format(index).encode() for index in range(PEER_DEVICES)]


@contextmanager
def started(command: list[str], environment: dict[str, str], folder: Path, url: str) -> Iterator[int]:
    """A server process, once `url` answers; ended by its own pid."""
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=os.getcwd(), stdout=log, stderr=log)
    try:
        for _ in range(300):
            if answers(url):
                break
            if process.poll() is not None:
                raise RuntimeError((folder / "server.log").read_text("utf-8")[-2000:])
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    """Whether a URL answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def first_tag(port: int, bearer: str) -> str:
    """The entity tag that a device keeps after its first poll."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{STATE_PATH}", headers={"Authorization": f"Bearer {bearer}"}
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        return str(response.headers["ETag"])


if __name__ == "__main__":
    main()
