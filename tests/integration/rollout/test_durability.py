"""What was acknowledged is counted, exactly, whoever is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from acclimate.rollout.store import open_store
from tests.support.postgres import PostgresServer
from tests.support.report_writer import BATCH
from tests.support.rollout_samples import a_fleet

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
WRITERS, BATCHES = 3, 150


@pytest.fixture
def mortal_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=False)
    yield server
    server.close()


def start_writer(url: str, folder: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.report_writer", url, str(folder / f"writer-{number}")]
    paths = os.pathsep.join(str(ROOT / name) for name in ("platform", "device_sdk", "."))
    environment = os.environ | {"PYTHONPATH": paths}
    return subprocess.Popen([*command, f"device-{number}", str(BATCHES)], cwd=ROOT, env=environment)


def acknowledged(folder: Path) -> int:
    return sum(len(file.read_text().splitlines()) for file in folder.glob("writer-*"))


def reached(folder: Path, batches: int) -> bool:
    return acknowledged(folder) >= batches


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)


def test_acknowledged_equals_counted_through_kills_of_writers_and_database(
    mortal_postgres: PostgresServer, tmp_path: Path
):
    url = mortal_postgres.new_database()
    store = open_store(url)
    store.add_fleet(a_fleet(), "ada")
    store.close()
    writers = [start_writer(url, tmp_path, number) for number in range(WRITERS)]
    goal = WRITERS * BATCHES
    try:
        for turn in range(6):
            target = goal * (turn + 1) // 8
            wait_for(partial(reached, tmp_path, target), f"{target} batches")
            if turn % 2:
                mortal_postgres.kill()
                mortal_postgres.start()
            else:
                victim = turn // 2
                writers[victim].send_signal(signal.SIGKILL)
                writers[victim].wait()
                writers[victim] = start_writer(url, tmp_path, victim)
        wait_for(lambda: all(writer.poll() is not None for writer in writers), "the writers to end")
    finally:
        for writer in writers:
            writer.kill()
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    assert acknowledged(tmp_path) == goal
    store = open_store(url)
    reports = store.reports_after("home", 0, limit=goal * BATCH + 1)
    store_counts = sum(one.reports for one in store.counts("home"))
    store.close()
    expected = {
        (f"device-{number}", f"{one:032x}") for number in range(WRITERS) for one in range(BATCHES * BATCH)
    }
    assert len(reports) == len(expected) == store_counts
    assert {(one.device, one.id) for one in reports} == expected
