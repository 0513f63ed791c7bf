"""A fleet of which a third is the C runtime: enrolled, placed in waves, judged, drifting, like the others."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from acclimate.bundle.mcu.toolchain import host_program
from acclimate.cli.main import cli
from acclimate.errors import ScenarioError
from acclimate.simulation import Program, Scenario, simulate
from acclimate.simulation.conditions import conditions
from acclimate_device.bundle import read_bundle
from acclimate_device.testing import tiny_bundle

STORY = {
    "name": "mixed",
    "devices": 9,
    "microcontrollers": 0.34,
    "duration": "4h",
    "stream": {"every": "1min"},
    "drifts": [{"name": "weak", "kind": "scale", "size": 0.1, "at": "200min"}],
    "faults": [{"kind": "power-cut", "share": 0.4, "every": "90min"}],
    "rollouts": [
        {
            "version": 2,
            "at": "30min",
            "waves": "34%, 100%",
            "min_devices": 2,
            "plan": {
                "control_share": 0.3,
                "min_examples": 5,
                "silence_s": 7200,
                "gates": [{"metric": "failure", "limit": 0.5}],
            },
        },
    ],
    "service": {"poll": "5min", "tick": "2min"},
}

EVERY = {"gradient": "1min", "closed-form": "20s"}
"""Heads in closed form follow a drift within some labels: to notice it takes more of them before."""


@pytest.mark.parametrize("kind", EVERY)
def test_waves_and_drift_are_the_same_for_both(kind: str, tmp_path) -> None:
    scenario = Scenario.model_validate({**STORY, "stream": {"every": EVERY[kind]}})
    factory = tiny_bundle(kind)
    program = Program(host_program(read_bundle(factory.get), tmp_path / "firmware"))
    outcome = simulate(scenario, factory, program=program, processes=2)
    in_c = {n for n in range(scenario.devices) if conditions(scenario, n).microcontroller}
    assert len(in_c) == 3
    assert outcome.rollouts[-1][2] == "done"
    assert outcome.versions() == {"gestures@2": 9}
    assert outcome.acknowledged == outcome.counted["reports"]
    lost_to_power_cuts = outcome.made()["examples"] - outcome.counted["examples"]
    assert 0 <= lost_to_power_cuts < 0.05 * outcome.made()["examples"]
    for which in (in_c, set(range(scenario.devices)) - in_c):
        devices = [device for device in outcome.devices if device.number in which]
        assert all(device.adapted for device in devices)
        ran = {report.release.version for device in devices for _, report in device.reports}
        assert ran == {1, 2}
        assert sum(report.mistakes for device in devices for _, report in device.reports) > 0
    found = [one for one in outcome.detections() if one.delay_s is not None]
    assert {one.device in in_c for one in found} == {True, False}, "drift is noticed by both kinds"


def test_what_microcontrollers_cannot_do_is_refused() -> None:
    wrong = {**STORY, "policy": {"every": 4}}
    with pytest.raises(ValueError, match="take no every"):
        Scenario.model_validate(wrong)
    with pytest.raises(ScenarioError, match="pass the C runtime, compiled for this machine"):
        simulate(Scenario.model_validate({**STORY, "duration": "31min"}))


def test_the_command_compiles_what_the_scenario_needs(tmp_path) -> None:
    short = {"devices": 2, "microcontrollers": 1.0, "duration": "10min"}
    story = STORY | short | {"rollouts": [], "drifts": [], "faults": []}
    (tmp_path / "story.yaml").write_text(json.dumps(story))
    told = CliRunner().invoke(cli, ["simulate", str(tmp_path / "story.yaml"), "--json"])
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout)
    assert figures["made"]["predictions"] > 10
    assert figures["made"]["examples"] == figures["counted"]["examples"]
