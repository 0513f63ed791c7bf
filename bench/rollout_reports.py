"""Durable reports a second on PostgreSQL: group commit against one commit a report, interleaved.

`python -m bench.rollout_reports [--seconds 3] [--rounds 3]`. fsync is on; a report counts when its
commit has returned. Clients share commits the way requests at the service do: whoever arrives while one is
under way is in the next.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from itertools import count

from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.store import SqlStore, open_store
from tests.support.postgres import PostgresServer
from tests.support.rollout_samples import NOW, a_fleet, a_report

PAYLOAD = '{"id":"' + "0" * 32 + '","adapted_loss":{"count":10,"sketch":[[1,4],[2,6]],"sum":5.0}}'
NUMBERS = count()


def reports(number: int) -> list[ReportRecord]:
    return [a_report(f"device-{(one := next(NUMBERS)) % 5000}", one, payload=PAYLOAD) for _ in range(number)]


async def grouped(store: SqlStore, seconds: float, clients: int, batch: int) -> int:
    """Clients in a closed loop; a single committer takes whatever waits."""
    waiting: list[tuple[Sequence[ReportRecord], asyncio.Future[None]]] = []
    arrived, stored, ends = asyncio.Event(), 0, time.perf_counter() + seconds
    loop = asyncio.get_running_loop()

    async def client() -> None:
        nonlocal stored
        while time.perf_counter() < ends:
            acknowledged = loop.create_future()
            waiting.append((reports(batch), acknowledged))
            arrived.set()
            await acknowledged
            stored += batch

    async def committer() -> None:
        nonlocal waiting
        while True:
            await arrived.wait()
            arrived.clear()
            group, waiting = waiting, []
            rows = [row for rows, _ in group for row in rows]
            await asyncio.to_thread(store.add_reports, rows)
            for _, acknowledged in group:
                acknowledged.set_result(None)

    task = asyncio.create_task(committer())
    await asyncio.gather(*(client() for _ in range(clients)))
    task.cancel()
    return stored


def one_by_one(store: SqlStore, seconds: float) -> int:
    """One commit a report, from one connection."""
    stored, ends = 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        store.add_reports(reports(1))
        stored += 1
    return stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    server = PostgresServer()
    try:
        store = open_store(server.new_database())
        store.add_fleet(a_fleet(), "bench")
        store.add_reports(reports(2000))
        before = 2000
        kinds = [("one commit a report", 0, 1)] + [
            (f"group commit, {clients} clients x {batch}", clients, batch)
            for clients, batch in ((64, 1), (256, 1), (64, 8), (64, 64))
        ]
        rates: dict[str, list[float]] = {name: [] for name, _, _ in kinds}
        for _ in range(options.rounds):
            for name, clients, batch in kinds:
                started = time.perf_counter()
                if clients:
                    stored = asyncio.run(grouped(store, options.seconds, clients, batch))
                else:
                    stored = one_by_one(store, options.seconds)
                rates[name].append(stored / (time.perf_counter() - started))
                before += stored
        counted = sum(one.reports for one in store.counts("home", since=NOW - 1))
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; fsync on")
        for name, found in rates.items():
            ratios = [rate / base for rate, base in zip(found, rates[kinds[0][0]], strict=True)]
            print(
                f"  {name:32} {statistics.median(found):7.0f}/s ({min(found):.0f}..{max(found):.0f}), "
                f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f}..{max(ratios):.1f})"
            )
        print(f"  acknowledged {before}, counted {counted}")
        store.close()
    finally:
        server.close()


if __name__ == "__main__":
    main()
