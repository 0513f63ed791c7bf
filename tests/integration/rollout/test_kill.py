"""What was acknowledged is there, exactly once, however the service and its database die."""

from __future__ import annotations

import secrets
import threading
import time

import httpx
import pytest

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.tokens import Access, AccessTokens
from acclimate.rollout.domain.fleet import Device, Fleet
from acclimate.rollout.store import open_store
from acclimate_device.protocol import REPORT_PATH, Receipt, Release, Report, ReportBatch, Summary, dumps, read
from tests.support.postgres import PostgresServer
from tests.support.serving import Served

pytestmark = pytest.mark.slow
DEVICES, PER_DEVICE, BATCH = 8, 45, 3


def a_report() -> Report:
    return Report(
        id=secrets.token_hex(16),
        started_at=1.0,
        ended_at=2.0,
        release=Release("press", 1, "a" * 64),
        counter=1,
        slot="a",
        adapted_loss=Summary(1, 0.5, 0.25, 0.5),
    )


class Sender(threading.Thread):
    """A device that sends each report until it is acknowledged, as the SDK does."""

    def __init__(self, url: str, bearer: str) -> None:
        super().__init__()
        self.url, self.bearer = url, bearer
        self.waiting = [a_report() for _ in range(PER_DEVICE)]
        self.acknowledged: list[str] = []
        self.failures = 0

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while self.waiting and time.monotonic() < deadline:
            body = dumps(ReportBatch(tuple(self.waiting[:BATCH])))
            try:
                answer = httpx.post(
                    self.url + REPORT_PATH,
                    content=body,
                    headers={"Authorization": f"Bearer {self.bearer}"},
                    timeout=5,
                )
            except httpx.HTTPError:
                self.failures += 1
                time.sleep(0.05)
                continue
            if answer.status_code != 200:
                assert answer.status_code == 503, answer.text
                self.failures += 1
                time.sleep(0.05)
                continue
            accepted = set(read(Receipt, answer.json()).accepted)
            self.acknowledged += accepted
            self.waiting = [report for report in self.waiting if report.id not in accepted]
            time.sleep(0.02)


def test_acknowledged_equals_counted_when_service_and_database_are_killed(tmp_path):
    database = PostgresServer(fsync=False)
    try:
        url = database.new_database()
        store = open_store(url)
        store.add_fleet(Fleet("plant", created_at=1.0), "test")
        names = [f"d-{index}" for index in range(DEVICES)]
        store.add_devices([Device("plant", name, "0" * 64, 1.0) for name in names], 1.0, "test")
        store.close()
        tokens = AccessTokens(
            ServiceKey.load_or_create(tmp_path / "service-key.pem").derive("device access tokens")
        )
        served = Served(tmp_path, url)
        served.start()
        until = int(time.time()) + 3600
        senders = [Sender(served.url, tokens.issue(Access("plant", name, 1, until))) for name in names]
        for sender in senders:
            sender.start()
        for kill in ("database", "service", "database"):
            time.sleep(0.25)
            if kill == "service":
                served.kill()
                served.start()
            else:
                database.kill()
                time.sleep(0.3)
                database.start()
        for sender in senders:
            sender.join(150)
        acknowledged = [report for sender in senders for report in sender.acknowledged]
        assert all(not sender.waiting for sender in senders)
        assert sum(sender.failures for sender in senders) > 0, "nothing was interrupted"
        assert len(acknowledged) == len(set(acknowledged)) == DEVICES * PER_DEVICE
        counts = f"{served.url}/api/v1/fleets/plant/counts"
        counted = httpx.get(counts, headers=served.admin, timeout=30).json()
        assert sum(row["reports"] for row in counted) == len(acknowledged)
        assert sum(row["adapted_examples"] for row in counted) == len(acknowledged)
        served.stop()
        store = open_store(url)
        stored = [one.id for one in store.reports_after("plant", 0, limit=10 * len(acknowledged))]
        store.close()
        assert sorted(stored) == sorted(acknowledged)
    finally:
        database.close()
