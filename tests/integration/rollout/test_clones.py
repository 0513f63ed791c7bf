"""A card copied into two machines, with the real agent, the real service and its command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from acclimate_device.agent import Agent
from acclimate_device.agent.machine import digest
from acclimate_device.agent.transport import HttpTransport
from acclimate_device.storage import FileFlash, Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing.repository import SimulatedRepository
from tests.support.serving import ADMIN, Served
from tests.unit.device.test_queue import report

pytestmark = pytest.mark.slow


def token(served: Served) -> str:
    return served.call("POST", "/fleets/plant/enrolment-tokens", {"quota": 5})["token"]


class Machine:
    """An agent on a board of its own, over the files of a card."""

    def __init__(self, served: Served, card: Path, board: str) -> None:
        self.flash = FileFlash(card)
        root = SimulatedRepository().root
        self.agent = Agent(HttpTransport(served.url), self.flash, root, card / "tuf", hardware=lambda: board)

    def enrol(self, with_token: str) -> str:
        return self.agent.service.enrol(with_token, "pump 7", {}, "").device_id

    def reports(self, number: int) -> None:
        ReportQueue(Store(self.flash)).add(report(number))
        assert self.agent.send_reports() == 1


def acclimate(served: Served, *arguments: str) -> str:
    command = [sys.executable, "-m", "acclimate", *arguments]
    environment = {"ACCLIMATE_URL": served.url, "ACCLIMATE_TOKEN": ADMIN, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, env=environment | {"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True, text=True, timeout=120, cwd=served.home, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_copied_card_is_noticed_named_held_and_resolved(service: Served, tmp_path: Path) -> None:
    card = tmp_path / "card"
    machine = Machine(service, card, "board A")
    device = machine.enrol(token(service))
    machine.reports(1)
    restarted = Machine(service, card, "board A")
    restarted.reports(2)
    path = f"/fleets/plant/devices/{device}"
    assert service.call("GET", path)["doubled_at"] is None, "a restart is one machine"

    shutil.copytree(card, tmp_path / "copy")
    twin = Machine(service, tmp_path / "copy", "board B")
    twin.reports(3)
    restarted.reports(4)  # with the bearer token it had: noticed before these losses count
    found = service.call("GET", path)
    assert found["assignment"]["action"] == "hold"
    for board in ("board A", "board B"):
        assert digest(board, device)[:8] in found["doubled"], "as acclimate-device status prints it"
    for one in (restarted, twin):
        told = one.agent.service.state("")
        assert told is not None
        assert told[0].action == "hold"

    (listed,) = json.loads(acclimate(service, "device", "list", "plant", "--json"))
    assert listed["doubled_at"] is not None
    assert "two machines" in acclimate(service, "device", "list", "plant")
    assert "acclimate_devices_doubled" in httpx.get(f"{service.url}/metrics", headers=service.admin).text

    other = twin.agent.identity.renew_key()
    own = Machine(service, tmp_path / "copy", "board B").enrol(token(service))
    assert own != device
    assert other.public.key_id.startswith(own[2:])
    acclimate(service, "device", "resolve", "plant", device, "--yes")
    restarted.agent.service._token = ""  # as an hour later
    restarted.reports(5)
    Machine(service, card, "board A").reports(6)
    assert service.call("GET", path)["doubled_at"] is None
