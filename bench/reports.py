"""Durable reports end to end: HTTP in, receipt out after the commit, on a real PostgreSQL with fsync.

    python -m bench.reports [--seconds 5] [--rounds 3]

Beside it, in the same run and interleaved: the database's own ceiling, one commit after the other of a single
report, through the same store. Every acknowledged report is counted at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.tokens import Access, AccessTokens
from acclimate.rollout.domain.fleet import Device, Fleet
from acclimate.rollout.domain.report import record
from acclimate.rollout.store import Store, open_store
from acclimate_device.protocol import REPORT_PATH, Release, Report, ReportBatch, Summary, dumps
from bench.loadgen import Load, closed_loop
from bench.polls import print_rounds
from tests.support.postgres import PostgresServer
from tests.support.serving import Served

DEVICES = 2_000
REPORTS = 60_000
RELEASE = Release("press", 1, "a" * 64)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, shared")
    database = PostgresServer()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(database, Path(folder), options.rounds, options.seconds)
    finally:
        database.close()
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def measure(database: PostgresServer, home: Path, rounds: int, seconds: float) -> None:
    """Rounds of one commit a report, of the service with one report a request, and with eight."""
    url = database.new_database()
    store = open_store(url)
    now = time.time()
    store.add_fleet(Fleet("bench", created_at=now), "bench")
    devices = [Device("bench", f"d-{index:06d}", f"{index:064x}", now) for index in range(DEVICES)]
    store.add_devices(devices, now, "bench")
    tokens = AccessTokens(ServiceKey.load_or_create(home / "service-key.pem").derive("device access tokens"))
    bearers = [tokens.issue(Access("bench", device.id, 1, int(now) + 3600)) for device in devices]
    served = Served(home, url)
    served.start(ACCLIMATE_LOG_LEVEL="warning")
    assert served.process is not None
    pid, acknowledged = served.process.pid, 0
    plain: list[float] = []
    one_each: list[Load] = []
    eight_each: list[Load] = []
    groups: dict[int, Counter[float]] = {1: Counter(), 8: Counter()}
    try:
        for _ in range(rounds):
            rate, count = one_commit_each(store, seconds / 2)
            plain.append(rate)
            acknowledged += count
            for loads, size in ((one_each, 1), (eight_each, 8)):
                requests = posts(bearers, size, REPORTS // size)
                before = commits(served.url)
                load = closed_loop(served.port, requests, b"200", seconds, pid, connections=64)
                groups[size] += commits(served.url) - before
                loads.append(load)
                assert load.odd == 0, f"{load.odd} requests were not acknowledged"
                acknowledged += size * load.count
        print(f"one commit a report, no HTTP {statistics.median(plain):8.0f} reports/s")
        for size, loads in ((1, one_each), (8, eight_each)):
            print_rounds(f"requests of {size} report" + "s" * (size > 1), loads)
            print_groups(groups[size], size * sum(load.count for load in loads))
        middle = statistics.median(load.rate for load in eight_each) * 8
        print(f"reports/s in requests of 8: {middle:.0f}")
        counted = sum(row.reports for row in store.counts("bench"))
        print(f"acknowledged {acknowledged}, counted {counted}")
    finally:
        served.stop()
        store.close()


def commits(url: str) -> Counter[float]:
    """Group commits of the service so far, by the bucket of their size: up to so many reports."""
    text = httpx.get(f"{url}/metrics").raise_for_status().text
    found = {
        float(sample.labels["le"]): int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "acclimate_report_commit_reports_bucket"
    }
    below = [0, *found.values()]
    return Counter({size: count - less for (size, count), less in zip(found.items(), below, strict=False)})


def print_groups(groups: Counter[float], reports: int) -> None:
    """How many commits there were, and of what sizes."""
    sizes = ", ".join(f"up to {size:g}: {count}" for size, count in sorted(groups.items()) if count)
    print(f"  {groups.total()} commits of {reports / max(groups.total(), 1):.1f} reports ({sizes})")


def one_commit_each(store: Store, seconds: float) -> tuple[float, int]:
    """Reports a second with one commit for each, and how many were stored."""
    count, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        store.add_reports([record("bench", "d-000000", time.time(), a_report(), "{}")])
        count += 1
    return count / seconds, count


def posts(bearers: list[str], size: int, number: int) -> list[bytes]:
    """Prepared requests of `size` fresh reports each."""
    found = []
    for index in range(number):
        body = dumps(ReportBatch(tuple(a_report() for _ in range(size))))
        head = f"POST {REPORT_PATH} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n"
        head += f"Authorization: Bearer {bearers[index % len(bearers)]}\r\n\r\n"
        found.append(head.encode() + body)
    return found


def a_report() -> Report:
    """A report as a device sends it after an hour."""
    summary = Summary(60, 25.0, 12.0, 1.5, tuple((bucket, 4) for bucket in range(-10, 5)))
    return Report(
        id=secrets.token_hex(16),
        started_at=1_800_000_000.0,
        ended_at=1_800_003_600.0,
        release=RELEASE,
        counter=1_800_000_000_000,
        slot="a",
        predictions=600,
        adapted_loss=summary,
        predict_us=Summary(600, 60_000.0, 6e6, 900.0),
        steps=20,
        adaptations=1,
    )


if __name__ == "__main__":
    main()
