"""A file system that is really full: reports are refused and kept by devices, and all else goes on."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.tokens import Access, AccessTokens
from acclimate.rollout.backup import back_up
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import open_store
from acclimate_device.protocol import REPORT_PATH, STATE_PATH, Event, Report, ReportBatch, dumps
from tests.support.rollout_samples import NOW, OLD, a_device, a_fleet
from tests.support.serving import Served

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
EVENTS = tuple(Event(1.0, "warning", "x" * 100, "y" * 200) for _ in range(16))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_costs_no_acknowledged_report_and_stops_nothing_else(disk: Path, tmp_path: Path):
    home = disk / "home"
    home.mkdir()
    store = open_store(f"sqlite:///{home / 'rollout.db'}")
    store.add_fleet(a_fleet(), "ada")
    store.add_devices([a_device(0)], NOW, "ada")
    store.set_baseline("home", "", OLD, NOW, "ada")
    store.close()
    secret = ServiceKey.load_or_create(home / "service-key.pem").derive("device access tokens")
    token = AccessTokens(secret).issue(Access("home", a_device(0).id, 1, int(time.time()) + 3600))
    service = Served(home)
    service.start(ACCLIMATE_REPORT_BYTES_RATE="0")
    try:
        live_through(service, disk, token)
        back_up(ServiceSettings(home=home), tmp_path / "backup", NOW, lambda step: None)
    finally:
        service.stop()


def live_through(service: Served, disk: Path, token: str) -> None:
    """Full, room, full again, room, and a restart."""
    http = httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    acknowledged: set[str] = set()

    def status(batch: ReportBatch) -> tuple[int, bool]:
        answer = http.post(REPORT_PATH, content=dumps(batch))
        if answer.status_code == 200:
            acknowledged.update(answer.json()["accepted"])
        return answer.status_code, "disk is full" in answer.text

    for megabytes in (16, 32):
        found = (200, False)
        while found[0] == 200:
            batch = ReportBatch(tuple(a_report() for _ in range(32)))
            found = status(batch)
        assert found == (503, True)
        assert [http.get(path).status_code for path in (STATE_PATH, "/healthz", "/metrics")] == [200] * 3
        assert http.get("/readyz").status_code in (200, 503)  # a small write may find room in the WAL
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", disk], check=True)
        assert status(batch)[0] == 200, "what a device kept is taken once there is room"
        assert http.get("/readyz").status_code == 200
    assert service.process is not None
    service.process.terminate()
    assert service.process.wait(60) == 0
    service.start()
    counted = httpx.get(f"{service.url}/api/v1/fleets/home/counts", headers=service.admin).json()
    assert sum(one["reports"] for one in counted) == len(acknowledged)


def a_report() -> Report:
    return Report(secrets.token_hex(16), 1.0, 2.0, OLD, 1, "a", predictions=1, events=EVENTS)
