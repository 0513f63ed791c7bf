"""Every shipped scenario runs to its end; with fewer examples than shipped, and an untrained start."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest

from acclimate.errors import DataError
from acclimate.simulation import Outcome, Scenario, load_scenario, open_streams, shipped_scenarios, simulate
from acclimate.tasks.datasets import gas_drift, watch
from tests.support.bundle_samples import export, start
from tests.support.recordings import DATA

pytestmark = pytest.mark.slow
LESS = {
    "gestures": ["devices=80", "stream.every=1h", "service.poll=30min", "service.tick=10min"],
    "sensors": ["devices=30"],
    "watch": ["stream.every=4min", "service.poll=4min", "service.tick=2min"],
    "gas-drift": ["stream.every=3h", "service.poll=12h", "service.tick=2h"],
}
SHAPES = {"watch": ((6, 100), watch.EXERCISES), "gas-drift": ((128,), gas_drift.GASES)}


@pytest.fixture(scope="module")
def story() -> Callable[[str], Outcome]:
    """Runs a scenario, once."""

    @functools.cache
    def run(name: str) -> Outcome:
        scenario = load_scenario(name, LESS[name])
        return simulate(scenario, factory(scenario))

    return run


@pytest.mark.parametrize("name", shipped_scenarios())
def test_it_runs_to_its_end_and_loses_nothing(
    story: Callable[[str], Outcome], name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACCLIMATE_DATA_DIR", str(DATA))
    scenario, outcome = load_scenario(name, LESS[name]), story(name)
    assert outcome.duration_s == scenario.duration
    assert all(device.runs is not None for device in outcome.devices), "a device ends on nothing"
    assert outcome.acknowledged == outcome.counted["reports"] > scenario.devices
    lost_to_power_cuts = outcome.made()["examples"] - outcome.counted["examples"]
    assert 0 <= lost_to_power_cuts < 0.01 * outcome.made()["examples"]
    begun = {drift for device in outcome.devices for drift in device.begun}
    assert begun == {drift.name for drift in scenario.drifts}
    tried = {version for _, version, *_ in outcome.rollouts}
    assert {rollout.version for rollout in scenario.rollouts[:1]} <= tried  # with so few labels one may last


def test_sensors_that_change_are_noticed_by_their_inputs_alone(story: Callable[[str], Outcome]):
    outcome = story("sensors")
    detections = outcome.detections()
    found = [one for one in detections if one.delay_s is not None]
    assert {one.drift for one in found} == {"gain", "zero-point", "turned", "dead"}
    assert len(found) > 0.6 * len(detections)
    assert outcome.false_alarms() <= 2


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
