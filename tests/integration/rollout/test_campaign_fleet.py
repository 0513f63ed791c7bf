"""Two hundred real devices learn together through a real service over PostgreSQL that dies twice."""

from __future__ import annotations

import base64
import itertools
import json
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acclimate.simulation.device import SharedEngines
from acclimate_device import Device
from acclimate_device.agent import Agent, HttpTransport
from acclimate_device.storage import CONTRIBUTION, ROUND, Store
from acclimate_device.testing import SimulatedFlash
from tests.support.fleet_journey import Operator
from tests.support.postgres import PostgresServer
from tests.support.serving import ADMIN, Served

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500)]
DEVICES, DROPPED, LABELS = 200, 0.3, 24
CHANNELS, CLASSES = ("a", "b", "c"), "xyz"


class Sensor:
    """A device's own directions of the classes, around ones the fleet shares and no version knows yet."""

    def __init__(self, seed: int, shared: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        middle = np.eye(3)[[1, 2, 0]] if shared else np.eye(3)
        self.turn = middle + 0.3 * self.rng.normal(size=(3, 3))

    def examples(self, number: int) -> list[tuple[np.ndarray, str]]:
        drawn = []
        for _ in range(number):
            label = int(self.rng.integers(3))
            x = self.turn[label] * 1.5 + self.rng.normal(size=3)
            drawn.append((x.astype(np.float32), CLASSES[label]))
        return drawn


def the_first_version(folder: Path, operator: Operator) -> None:
    """Trained on a few recordings of another kind of place."""
    columns: dict[str, list[Any]] = {name: [] for name in ("device", "t", *CHANNELS, "label")}
    for device in range(12):
        for row, (x, label) in enumerate(Sensor(device, shared=False).examples(120)):
            for name, value in zip(columns, (f"d{device}", float(row), *map(float, x), label), strict=True):
                columns[name].append(value)
    pq.write_table(pa.table(columns), folder / "fleet.parquet")
    declared = {"kind": "classification", "task": "device", "time": "t", "channels": list(CHANNELS)}
    recipe = {
        "name": "fleet",
        "data": {
            "source": str(folder / "fleet.parquet"),
            "recordings": declared | {"window": 1, "label": "label"},
            "test": 2,
            "validation": 3,
        },
        "episodes": {"shots": 5, "query_shots": 5},
        "model": {"name": "random", "options": {"width": 12}},
        "learner": {"algorithm": "closed-form", "heads": "last-layer"},
        "training": {"steps": 1, "meta_batch": 4, "shard": 4, "workers": 0},
        "baseline": {"joint": False},
        "evaluation": {"shots": [1, 5], "rivals": False},
        "federated": {},
    }
    (folder / "fleet.yaml").write_text(json.dumps(recipe))
    operator.run("campaign", "simulate", folder / "fleet.yaml")
    operator.run("export", "fleet@1", "-o", folder / "bundle")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def accuracy(files: dict[str, bytes], labels: int) -> float:
    """Of devices that nobody has seen, after so many labels of their own."""
    right, load = [], SharedEngines()
    for seed in range(5000, 5040):
        device, sensor = Device(files.get, SimulatedFlash(), load=load), Sensor(seed)
        for x, label in sensor.examples(labels):
            device.learn_one(x, label)
        right += [device.predict_one(x) == label for x, label in sensor.examples(20)]
    return float(np.mean(right))


def test_a_campaign_of_two_hundred_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "work"))
    alone = Operator()
    the_first_version(tmp_path, alone)
    home = tmp_path / "service"
    alone.run("repo", "init", home / "tuf", "--keys", tmp_path / "keys", "--unencrypted")
    alone.run("repo", "publish", home / "tuf", tmp_path / "bundle", "--key", tmp_path / "keys")
    served = Served(home, postgres.new_database())
    try:
        served.start()
        operator = Operator(served.url, ADMIN)
        operator.run("fleet", "create", "plant")
        operator.run("fleet", "baseline", "plant", "fleet@1")
        token = operator.read("fleet", "enrol", "plant", "--devices", DEVICES)["token"]
        members = the_members(tmp_path, served, token)
        for kills in (1, 2):
            name = begin(operator, minutes=30)
            for agent, device, _ in members[:20]:
                take_part(agent, device)
            served.kill()
            served.start()
            assert ended(operator, name)["campaign"]["state"] == "void", kills
        name = begin(operator, minutes=1.5)
        staying = members[: round(DEVICES * (1 - DROPPED))]
        for agent, device, _ in staying:
            take_part(agent, device)
        for agent, _, _ in members[len(staying) :]:
            agent.contribute()  # asked, and never heard of again
        done = ended(operator, name)
        done = done["campaign"]
        assert done["state"] == "done", done
        assert done["accepted"] == len(staying)
        for _, _, flash in staying:
            assert Store(flash).read(ROUND) is Store(flash).read(CONTRIBUTION) is None
        assert operator.read("campaign", "register", name)["version"] == 2
        hidden = ended(operator, in_secret(operator, members[:100]))["campaign"]
        assert (hidden["state"], hidden["joined"], hidden["accepted"]) == ("done", 100, 70), hidden
        check_alike(served, done["id"], hidden["id"])
        alone.run("export", "fleet@2", "-o", tmp_path / "next")
    finally:
        served.stop()
    before, after = (files_of(tmp_path / folder) for folder in ("bundle", "next"))
    figures = {labels: (accuracy(before, labels), accuracy(after, labels)) for labels in (0, 3, 6)}
    print(figures)
    assert figures[0][1] > figures[0][0] + 0.2
    assert figures[3][1] > figures[3][0] + 0.05


def the_members(folder: Path, served: Served, token: str) -> list[tuple[Agent, Device, SimulatedFlash]]:
    files, load, members = files_of(folder / "bundle"), SharedEngines(), []
    root = (served.home / "tuf" / "metadata" / "1.root.json").read_bytes()
    for number in range(DEVICES):
        flash = SimulatedFlash()
        device = Device(files.get, flash, load=load)
        for x, label in Sensor(1000 + number).examples(LABELS):
            device.learn_one(x, label)
        transport = HttpTransport(served.url)
        agent = Agent(transport, flash, root, folder / "metadata" / str(number), contribute=True)
        agent.service.enrol(token, "", {}, "")
        members.append((agent, device, flash))
    return members


def take_part(agent: Agent, device: Device) -> None:
    agent.contribute()
    device.tick()
    agent.contribute()


def in_secret(operator: Operator, members: list[tuple[Agent, Device, SimulatedFlash]]) -> str:
    """A campaign that hides what each device gives, to its end; 30 % vanish once they dealt their shares."""
    name = begin(operator, 3, "--secure", quorum=50)
    first, staying = members[0][0], members[: round(len(members) * (1 - DROPPED))]
    for agent, device, _ in members:
        take_part(agent, device)
    for phase, taking in (("deal", members), ("mask", staying), ("unmask", staying)):
        until = time.monotonic() + 200
        while getattr(first.service.turn(), "phase", "") != phase:
            assert time.monotonic() < until, phase
            time.sleep(0.2)
        for agent, _, _ in taking:
            agent.contribute()
    return name


def _result(served: Served, name: str) -> str:
    url = f"{served.url}/api/v1/campaigns/{name}/result"
    values: str = httpx.get(url, headers=served.admin, timeout=20).json()["values"]
    return values


def check_alike(served: Served, seen: str, hidden: str) -> None:
    """The means of 140 devices, and of 70 of those."""
    one, other = (np.frombuffer(base64.b64decode(_result(served, name)), "<f8") for name in (seen, hidden))
    assert float(np.corrcoef(one, other)[0, 1]) > 0.9


def begin(operator: Operator, minutes: float, *more: object, quorum: int = 100) -> str:
    options = ("--minutes", minutes, "--quorum", quorum, "--aggregator", "mean", *more)
    made = operator.read("campaign", "start", "plant", "fleet@1", *options)
    name: str = made["campaign"]["id"]
    return name


def ended(operator: Operator, name: str) -> dict[str, Any]:
    until = time.monotonic() + 180
    for wait in itertools.repeat(0.5):
        found: dict[str, Any] = operator.read("campaign", "status", name)
        if found["campaign"]["state"] not in ("open", "paused") or time.monotonic() > until:
            return found
        time.sleep(wait)
    raise AssertionError
