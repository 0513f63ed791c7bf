"""How a service ends: drained, leases given back, training ended, by either signal; and too many clients."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sqlite3
import sys
import time
from pathlib import Path

import httpx
import pytest

from acclimate.rollout.store import open_store
from tests.support.rollout_samples import OLD
from tests.support.serving import Served

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_ends_everything_and_exits_with_0(number: signal.Signals, tmp_path: Path):
    service = Served(tmp_path)
    child = tmp_path / "child.pid"
    script = f"import os, time; open({str(child)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    service.start(ACCLIMATE_RETRAIN_COMMAND=shlex.join([sys.executable, "-c", script]))
    with httpx.Client(base_url=f"{service.url}/api/v1", headers=service.admin) as client:
        assert client.post("/fleets", json={"name": "home"}).status_code == 201
        store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
        store.set_baseline("home", "", OLD, time.time(), "test")
        store.close()
        assert client.post("/fleets/home/retrainings", json={}).status_code == 202
    pid = int(_wait_for(lambda: child.read_text() if child.exists() else ""))
    service.process.send_signal(number)
    assert service.process.wait(40) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "rollout.db-wal").exists() or not (tmp_path / "rollout.db-wal").stat().st_size
    with sqlite3.connect(tmp_path / "rollout.db") as database:
        leases = dict(database.execute("SELECT name, expires_at FROM leases WHERE name != 'readiness'"))
    assert leases["controller"] == leases["retraining"] == 0.0
    assert "event=stopped" in service.log


def test_half_sent_requests_do_not_keep_others_out(tmp_path: Path):
    service = Served(tmp_path)
    service.start()
    held = []
    try:
        for _ in range(1_200):  # more than the usual soft limit of 1,024 descriptors
            half = socket.create_connection(("127.0.0.1", service.port))
            half.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
            held.append(half)
        assert httpx.get(f"{service.url}/readyz", timeout=20).status_code == 200
    finally:
        for half in held:
            half.close()
    service.stop()


def _wait_for(read, seconds: float = 30.0) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := read():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")
