"""Two replicas restarted in turn under a fleet that reports: what was acknowledged is what is counted."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.tokens import Access, AccessTokens
from acclimate.rollout.store import open_store
from acclimate_device.protocol import REPORT_PATH, Report, ReportBatch, Summary, dumps
from tests.support.postgres import PostgresServer
from tests.support.rollout_samples import NOW, OLD, a_device, a_fleet
from tests.support.serving import Served

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1800)]
DEVICES = 500
SECONDS = float(os.environ.get("ROLLING_RESTART_S", "600"))
EVERY_S = 4.0


class Devices:
    """Devices that report to whichever replica answers, and repeat a report until it is acknowledged."""

    def __init__(self, replicas: list[Served], tokens: list[str]) -> None:
        self._replicas, self._tokens = replicas, tokens
        self.acknowledged: set[str] = set()
        self.failures = self.defects = 0

    async def run(self, seconds: float) -> None:
        limits = httpx.Limits(max_connections=1_200, max_keepalive_connections=1_200)
        async with httpx.AsyncClient(limits=limits, timeout=20) as http:
            ends = time.monotonic() + seconds
            await asyncio.gather(*(self._live(http, number, ends) for number in range(len(self._tokens))))

    async def _live(self, http: httpx.AsyncClient, number: int, ends: float) -> None:
        await asyncio.sleep(EVERY_S * number / len(self._tokens))
        turns = itertools.cycle(self._replicas if number % 2 else self._replicas[::-1])
        replica = next(turns)
        while time.monotonic() < ends:
            report = Report(
                secrets.token_hex(16), 1.0, 2.0, OLD, 1, "a", predictions=3, start_loss=Summary(8, 4.0)
            )
            while report.id not in self.acknowledged:
                try:
                    answer = await http.post(
                        f"{replica.url}{REPORT_PATH}",
                        content=dumps(ReportBatch((report,))),
                        headers={"Authorization": f"Bearer {self._tokens[number]}"},
                    )
                    self.defects += answer.status_code == 500
                    if answer.status_code == 200:
                        self.acknowledged.update(answer.json()["accepted"])
                        continue
                except httpx.HTTPError:
                    pass
                self.failures += 1
                replica = next(turns)
                await asyncio.sleep(0.5)
            await asyncio.sleep(EVERY_S)


async def restart_in_turn(replicas: list[Served], until: float) -> int:
    """Orderly for one, without warning for the other, again and again; how often."""
    count = 0
    while time.monotonic() < until - 25:
        for number, replica in enumerate(replicas):
            await asyncio.sleep(8)
            await asyncio.to_thread(replica.stop if number == count % 2 else replica.kill)
            await asyncio.to_thread(replica.start)
            count += 1
    return count


def test_a_rolling_restart_loses_and_counts_twice_nothing(tmp_path: Path, postgres: PostgresServer):
    url = postgres.new_database()
    store = open_store(url)
    store.add_fleet(a_fleet(), "ada")
    store.add_devices([a_device(number) for number in range(DEVICES)], NOW, "ada")
    store.set_baseline("home", "", OLD, NOW, "ada")
    key_file = tmp_path / "service-key.pem"
    signer = AccessTokens(ServiceKey.load_or_create(key_file).derive("device access tokens"))
    ends = int(time.time()) + 86_400
    tokens = [signer.issue(Access("home", f"device-{number:05d}", 1, ends)) for number in range(DEVICES)]
    replicas = [Served(tmp_path / name, url) for name in ("one", "two")]
    for replica in replicas:
        replica.start = partial(replica.start, ACCLIMATE_SERVICE_KEY=str(key_file))
        replica.start()
    devices = Devices(replicas, tokens)

    async def all_at_once() -> int:
        restarts = asyncio.create_task(restart_in_turn(replicas, time.monotonic() + SECONDS))
        await devices.run(SECONDS)
        return await restarts

    try:
        restarts = asyncio.run(all_at_once())
        counted = sum(one.reports for one in store.counts("home"))
        print(
            f"{restarts} restarts, {len(devices.acknowledged)} acknowledged, {counted} counted, "
            f"{devices.failures} tries refused or cut off, {devices.defects} defects"
        )
        assert restarts >= 2
        assert counted == len(devices.acknowledged)
        assert devices.defects == 0
    finally:
        for replica in replicas:
            replica.stop()
        store.close()
