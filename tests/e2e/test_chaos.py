"""Service and PostgreSQL killed again and again under a fleet on the wall clock, over real HTTP.

Full size: `ACCLIMATE_CHAOS=200x600 pytest tests/e2e/test_chaos.py` (devices x seconds).
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acclimate.rollout.store import open_store
from acclimate.simulation import (
    Scenario,
    ServedWorld,
    ServiceProcess,
    next_version,
    open_streams,
    run,
    sign_repository,
)
from acclimate_device.testing import tiny_bundle
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]
DEVICES, SECONDS = map(int, os.environ.get("ACCLIMATE_CHAOS", "24x30").split("x"))
KILL_EVERY_S = 10.0
SCENARIO = Scenario(
    name="chaos",
    clock="wall",
    devices=DEVICES,
    duration=SECONDS,
    stream={"every": 1.0},
    arrivals={"over": min(10.0, SECONDS / 5)},
    network={"refused": 0.02, "lost": 0.05, "cut": 0.3},
    rollouts=[{"version": 2, "at": SECONDS / 4, "waves": "50%, 100%", "min_devices": 3}],
    service={"poll": 2.0},
)


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=False)
    yield server
    server.close()


class Killer:
    """Kills the service and the database in turn, each up again at once."""

    def __init__(self, service: ServiceProcess, postgres: PostgresServer) -> None:
        self.kills, self._stop = 0, threading.Event()
        turns: list[tuple[Callable[[], None], Callable[[], None]]] = [
            (service.kill, service.start),
            (postgres.kill, postgres.start),
        ]
        self._thread = threading.Thread(target=self._work, args=(itertools.cycle(turns),))

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self, turns: Iterator[tuple[Callable[[], None], Callable[[], None]]]) -> None:
        for kill, start in turns:
            if self._stop.wait(KILL_EVERY_S):
                return
            kill()
            start()
            self.kills += 1


def test_acknowledged_equals_counted_and_nothing_is_assigned_twice(tmp_path: Path, postgres: PostgresServer):
    factory = tiny_bundle()
    url = postgres.new_database()
    root = sign_repository([factory, next_version(factory, 2)], tmp_path / "tuf")
    limits = {"TICK_S": "0.5", "DEVICE_RATE": "0", "ANONYMOUS_RATE": "0"}
    with ServiceProcess(tmp_path, url, **limits) as service:
        world = ServedWorld(service.url, service.token, root, timeout_s=5.0, patience_s=60.0)
        with Killer(service, postgres) as killer:
            outcome = run(SCENARIO, world, factory, open_streams(SCENARIO.stream), tmp_path / "devices")
    print(
        f"{DEVICES} devices, {SECONDS} s: {killer.kills} kills, {outcome.requests} requests, "
        f"{outcome.acknowledged} reports acknowledged, {outcome.versions()}"
    )
    assert killer.kills >= 2
    assert all(device.device_id for device in outcome.devices)
    assert all(device.waiting == 0 for device in outcome.devices)
    assert outcome.acknowledged == outcome.counted["reports"] > DEVICES
    assert outcome.counted == pytest.approx(outcome.counted | outcome.made())
    assert all(device.runs is not None for device in outcome.devices), "a device ends on nothing"
    for device in outcome.devices:
        told: dict[int, set[int]] = {}
        for _, report in device.reports:
            told.setdefault(report.counter, set()).add(report.release.version)
        assert all(len(versions) == 1 for versions in told.values()), "one counter, two assignments"
    store = open_store(url)
    stored = store.reports_after("chaos", 0, limit=10_000_000)
    taken = [one.device for rollout in store.rollouts("chaos") for one in store.observations(rollout.id)]
    store.close()
    assert len({(one.device, one.id) for one in stored}) == len(stored)
    assert len(set(taken)) == len(taken)
