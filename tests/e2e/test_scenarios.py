"""Every shipped scenario runs to its end; with fewer examples than shipped, and an untrained start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate.errors import DataError
from acclimate.simulation import Scenario, load_scenario, open_streams, shipped_scenarios, simulate
from acclimate.tasks.datasets import gas_drift, watch
from tests.bundle_samples import export, start
from tests.recordings import DATA

pytestmark = pytest.mark.slow
LESS = {
    "gestures": ["devices=80", "stream.every=1h", "service.poll=30min", "service.tick=10min"],
    "watch": ["stream.every=4min", "service.poll=4min", "service.tick=2min"],
    "gas-drift": ["stream.every=3h", "service.poll=12h", "service.tick=2h"],
}
SHAPES = {"watch": ((6, 100), watch.EXERCISES), "gas-drift": ((128,), gas_drift.GASES)}


@pytest.mark.parametrize("name", shipped_scenarios())
def test_it_runs_to_its_end_and_loses_nothing(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCLIMATE_DATA_DIR", str(DATA))
    scenario = load_scenario(name, LESS[name])
    outcome = simulate(scenario, factory(scenario))
    assert outcome.duration_s == scenario.duration
    assert all(device.runs is not None for device in outcome.devices), "a device ends on nothing"
    assert outcome.acknowledged == outcome.counted["reports"] > scenario.devices
    lost_to_power_cuts = outcome.made()["examples"] - outcome.counted["examples"]
    assert 0 <= lost_to_power_cuts < 0.01 * outcome.made()["examples"]
    begun = {drift for device in outcome.devices for drift in device.begun}
    assert begun == {drift.name for drift in scenario.drifts}
    tried = {version for _, version, *_ in outcome.rollouts}
    assert tried == {rollout.version for rollout in scenario.rollouts}


def factory(scenario: Scenario) -> dict[str, bytes] | None:
    """An untrained bundle that fits the scenario's recordings; None where it brings its own."""
    if scenario.name not in SHAPES:
        return None
    shape, labels = SHAPES[scenario.name]
    try:
        open_streams(scenario.stream)
    except DataError as missing:
        pytest.skip(str(missing))
    untrained = start("mlp", shape, len(labels), options={"hidden": (8,)})
    untrained = replace(untrained, schema=replace(untrained.schema, labels=labels))
    return dict(export(untrained).files)
