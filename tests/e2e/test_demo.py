"""The whole loop in small, by the command that people type: real training, service, gates and devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acclimate.registry import Registry
from acclimate.rollout.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def test_the_demo_tells_the_whole_story(tmp_path: Path):
    environment = os.environ | {
        "ACCLIMATE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-m", "acclimate", "demo", "--small", "--no-wait"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [folder] = (tmp_path / "demo").iterdir()
    fleet = json.loads((folder / "report.json").read_text())["fleet"]

    # Nothing lost, nothing counted twice.
    assert fleet["made"]["examples"] == fleet["counted"]["examples"] > 0
    assert sum(one["delay_s"] is not None for one in fleet["detections"]) >= fleet["devices"] * 0.4

    # Training was asked for by the service itself, and its version says why.
    registry = Registry.open(f"sqlite:///{folder / 'mlflow.db'}")
    second = registry.version("watch", "2")
    assert (second.tags["trigger"], second.tags["parent_version"], second.tags["fleet"]) == (
        "drift",
        "1",
        "watches",
    )
    assert int(second.tags["training_tasks"]) > int(registry.version("watch", "1").tags["training_tasks"])

    # The second version reached every device; the gates did not see harm in it.
    store = open_store(f"sqlite:///{folder / 'rollout.db'}")
    third, second_rollout = store.rollouts("watches")
    stopped_by = store.decisions(third.id, 1000)
    store.close()
    assert (second_rollout.plan.release.version, second_rollout.state) == (2, "done")
    assert fleet["versions"] == {"watch@2": fleet["devices"]}
    assert registry.version("watch", "champion").version == 2

    # The harmful version stopped at its first wave, on evidence and by nobody's hand.
    assert (third.plan.release.version, third.state, third.wave) == (3, "rolled_back", 1)
    assert [one.actor for one in stopped_by if one.action == "roll_back"] == ["controller"]
    assert registry.version("watch", "3").tags["field.result"] == "rolled_back"
    assert "Version 3 does harm" in (folder / "report.html").read_text()
