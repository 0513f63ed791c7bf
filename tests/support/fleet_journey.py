"""An operator's way with the commands: sign two versions, roll the second one out to simulated devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.simulation import next_version
from acclimate_device.testing import tiny_bundle

FLEET = "joined"
DEVICES = 12
SCENARIO = {
    "name": FLEET,
    "clock": "wall",
    "devices": DEVICES,
    "duration": 15,
    "stream": {"every": 1.0},
    "arrivals": {"over": 3},
    "service": {"poll": 2.0},
    "rollouts": [{"version": 2, "at": 3, "waves": "100%", "min_devices": 3}],
}


@dataclass(frozen=True)
class Operator:
    """Someone with a shell, whose environment has the service's address and a token."""

    url: str = ""
    token: str = ""

    def run(self, *arguments: str | Path) -> str:
        """A command, in this process."""
        done = CliRunner().invoke(cli, list(map(str, arguments)), env=self._environment())
        assert done.exit_code == 0, f"{arguments}: {done.output[-3000:]}{done.exception!r}"
        return done.stdout

    def read(self, *arguments: str | Path) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """A command that takes its time, beside this process."""
        path = os.pathsep.join(filter(None, sys.path))
        return subprocess.Popen(
            [sys.executable, "-m", "acclimate", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": path} | self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        return {"ACCLIMATE_URL": self.url, "ACCLIMATE_TOKEN": self.token} if self.url else {}


def sign_two_versions(folder: Path) -> None:
    """`tuf/` with both, `bundle/` with the first, as `acclimate export` writes one."""
    operator, factory = Operator(), tiny_bundle()
    operator.run("repo", "init", folder / "tuf", "--keys", folder / "keys", "--unencrypted")
    for name, files in (("bundle", factory), ("next", next_version(factory, 2))):
        (folder / name).mkdir()
        for file, content in files.items():
            (folder / name / file).write_bytes(content)
        operator.run("repo", "publish", folder / "tuf", folder / name, "--key", folder / "keys")


def roll_out(operator: Operator, folder: Path) -> None:
    """Devices join the service, run version 1, and end on version 2."""
    published = operator.read("fleet", "releases")
    assert {one["version"] for one in published} == {1, 2}, published
    scenario, root = folder / "scenario.yaml", folder / "tuf" / "metadata" / "1.root.json"
    scenario.write_text(json.dumps(SCENARIO))  # JSON is YAML
    devices = operator.start("simulate", scenario, "--join", root, "--bundle", folder / "bundle", "--json")
    try:
        _promote(operator, devices)
        printed, said = devices.communicate(timeout=180)
    finally:
        devices.kill()
    assert devices.returncode == 0, said[-3000:]
    outcome = json.loads(printed)
    name = published[0]["name"]
    assert outcome["versions"] == {f"{name}@2": DEVICES}, said
    assert outcome["acknowledged"] == outcome["counted"]["reports"] > DEVICES
    [rollout] = operator.read("rollout", "list", "--fleet", FLEET)
    assert rollout["rollout"]["state"] == "done", rollout
    assert "shown to all" in operator.run("rollout", "why", rollout["rollout"]["id"])


def all_is_there(operator: Operator) -> None:
    """Devices, what they reported, and what came of the rollout: nothing of it may ever be lost."""
    fleet = operator.read("fleet", "show", FLEET)
    assert fleet["fleet"]["devices"] == DEVICES
    assert [baseline["release"]["version"] for baseline in fleet["fleet"]["baselines"]] == [2]
    assert sum(row["reports"] for row in fleet["counts"]) > DEVICES
    assert {one["version"] for one in operator.read("fleet", "releases")} == {1, 2}


def _promote(operator: Operator, devices: subprocess.Popen[str]) -> None:
    """So few devices prove nothing in seconds: a person who has seen enough lets the version pass."""
    while devices.poll() is None:
        known = any(fleet["name"] == FLEET for fleet in operator.read("fleet", "list"))
        for found in operator.read("rollout", "list", "--fleet", FLEET) if known else ():
            if "promote" in found["operations"]:
                identity = found["rollout"]["id"]
                operator.run("rollout", "promote", identity, "--yes", "--reason", "shown to all")
                return
        time.sleep(0.2)
    raise AssertionError(f"no rollout to promote: {devices.communicate()}")
