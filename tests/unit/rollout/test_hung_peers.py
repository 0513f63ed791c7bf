"""A peer that accepts and never answers keeps nobody waiting but who asks for it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from acclimate.rollout.console import sign_on
from acclimate.rollout.controller import Controller
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.file_store import FileStore
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import open_store
from acclimate_device.protocol import REPORT_PATH, REPOSITORY_PATH, Report, ReportBatch, dumps
from tests.support.rollout_samples import NOW, OLD, a_decision, a_fleet_with, a_running
from tests.unit.rollout.conftest import running

pytestmark = pytest.mark.anyio
PATIENCE_S = 20.0
HELD = 100  # more than any kind of thread has


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end, so that the threads that wait end too."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_store_of_bundles_that_hangs_holds_who_downloads_and_nobody_else(world, gate, monkeypatch):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")

    def hang(self: FileStore, path: str) -> None:
        gate.wait(60)
        raise FileNotFoundError(path)

    monkeypatch.setattr(FileStore, "stat", hang)
    world.service.gatekeeper.limit._rate = 0
    path = f"{REPOSITORY_PATH}/metadata/timestamp.json"
    held = [asyncio.ensure_future(world.http.get(path, headers=device.headers)) for _ in range(HELD)]
    await asyncio.sleep(0.3)
    assert not any(one.done() for one in held)
    async with asyncio.timeout(PATIENCE_S):
        await device.renew()
        report = Report("a" * 32, 1.0, 2.0, OLD, 1, "a")
        sent = await world.http.post(
            REPORT_PATH, content=dumps(ReportBatch((report,))), headers=device.headers
        )
        assert sent.status_code == 200
        assert (await world.http.get("/readyz")).status_code == 200
        await world.call("GET", "/fleets")
        await world.service.refresh()
    gate.set()
    await asyncio.gather(*held)


async def test_a_registry_that_hangs_is_asked_by_a_few_and_the_others_are_told(world, gate):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)

    def hang(name: str, alias: str) -> int:
        gate.wait(60)
        return 1

    world.service.desk.releases._alias_of = hang
    body = {"release": "gait@candidate"}
    path = "/api/v1/fleets/plant/baseline"
    held = [asyncio.ensure_future(world.http.put(path, json=body, headers=world.admin)) for _ in range(HELD)]
    async with asyncio.timeout(PATIENCE_S):
        done, waiting = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        while len(waiting) > 8:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert "does not answer" in done.pop().result().text
        await world.call("GET", "/fleets")
    gate.set()
    await asyncio.gather(*held)


class Hanging:
    """A registry."""

    content_hash = OLD.content_hash

    def __init__(self, gate: threading.Event) -> None:
        self.gate, self.asked = gate, 0

    def version(self, name: str, ref: str) -> Hanging:
        self.asked += 1
        self.gate.wait(60)
        return self

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None: ...

    def set_alias(self, name: str, alias: str, version: int) -> None: ...


def test_a_registry_that_hangs_delays_no_rollout(tmp_path: Path, gate):
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    a_fleet_with(store)
    a_running(store)
    store.step_rollout(
        "rollout-1",
        lambda one, _: replace(one, state=State.DONE, generation=one.generation + 1),
        a_decision("finish"),
    )
    registry = Hanging(gate)
    controller = Controller(store, "a", lambda: NOW, registry, lease_s=5.0)
    began = time.monotonic()
    for _ in range(10):
        assert controller.tick()
    assert (registry.asked, time.monotonic() - began < 5.0) == (1, True)
    assert [one.id for one in store.unpublished()] == ["rollout-1"]
    gate.set()
    until = time.monotonic() + PATIENCE_S
    while store.unpublished() and time.monotonic() < until:
        controller.tick()
    assert store.unpublished() == []
    store.close()


async def test_a_provider_that_hangs_holds_who_signs_in_and_nobody_else(
    tmp_path: Path, migrated: Path, monkeypatch
):
    monkeypatch.setattr(sign_on, "ANSWER_S", 1.0)
    shutil.copy(migrated, tmp_path / "rollout.db")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        issuer = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        settings = ServiceSettings(
            home=tmp_path,
            anonymous_rate=0,
            public_url="http://test",
            oidc_issuer=issuer,
            oidc_client_id="us",
            oidc_client_secret="secret",
        )
        async with running(settings) as world:
            leaving = [asyncio.ensure_future(world.http.get("/console/sign-on")) for _ in range(HELD)]
            await asyncio.sleep(0.3)
            async with asyncio.timeout(PATIENCE_S):
                assert (await world.http.get("/console/login")).status_code == 200
                await world.call("GET", "/fleets")
                left = await leaving[0]
            assert (left.status_code, "does not answer" in left.text) == (502, True)
            for one in leaving:
                one.cancel()
                with suppress(asyncio.CancelledError):
                    await one
