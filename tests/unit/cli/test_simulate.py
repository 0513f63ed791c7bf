"""`acclimate simulate`, as a person and as a script run it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import acclimate.simulation
from acclimate.cli.main import cli
from acclimate.errors import ScenarioError
from acclimate_device.testing import tiny_bundle

STORY = """
name: three
devices: 3
duration: 40min
stream: {every: 1min}
service: {poll: 4min}
rollouts:
  - version: 2
    at: 10min
    waves: 100%
    min_devices: 1
    plan: {control_share: 0, gates: [{metric: failure, limit: 0.5}]}
"""


@pytest.fixture
def story(tmp_path: Path) -> str:
    path = tmp_path / "three.yaml"
    path.write_text(STORY)
    return str(path)


def simulate(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["simulate", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit | ScenarioError):
        raise result.exception
    return result


def mistake(*arguments: str) -> str:
    result = simulate(*arguments)
    assert isinstance(result.exception, ScenarioError), result.output
    return str(result.exception)


def test_the_figures_come_as_json_alone_and_the_same_seed_gives_them_again(story: str):
    first, again = (json.loads(simulate(story, "--json").stdout) for _ in range(2))
    other = json.loads(simulate(story, "--json", "--seed", "1").stdout)
    assert first["devices"] == 3
    assert first["made"]["examples"] == first["counted"]["examples"] > 0
    assert first["acknowledged"] == first["counted"]["reports"] > 0
    assert first["rollouts"][-1][2] == "done"
    assert first["versions"] == {"gestures@2": 3}
    assert first["digest"] == again["digest"] != other["digest"]


def test_a_person_reads_what_happened_and_what_to_do_next(story: str):
    result = simulate(story, "--set", "devices=2")
    assert result.exit_code == 0
    assert "What 2 devices reported" in result.stdout
    assert "gestures@2 (2)" in result.stdout
    assert "version 2 done" in result.stderr
    assert f"next: acclimate simulate {story} --seed 1" in result.stderr


def test_processes_are_for_a_simulated_clock(story: str):
    result = simulate(story, "--processes", "2", "--set", "clock=wall")
    assert result.exit_code == 2
    assert "leave it out" in result.stderr


def test_devices_in_other_processes_warn_as_little_as_in_this_one(
    story: str, capfd: pytest.CaptureFixture[str]
):
    result = simulate(story, "--processes", "2", "--set", "network.lost=0.5")
    assert result.exit_code == 0, result.output
    assert "event=" not in capfd.readouterr().err


def test_without_a_scenario_the_shipped_ones_are_listed():
    assert {"gestures", "watch", "gas-drift"} <= {
        one["name"] for one in json.loads(simulate("--json").stdout)
    }
    assert "gestures" in simulate().stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "devises=3"], "did you mean 'devices'"),
        (["--set", "devices=none"], "devices is 'none'"),
        (["--set", "stream.tasks=[nobody]", "--set", "stream.source=nothing"], "pass --bundle"),
    ],
)
def test_a_mistake_in_the_scenario_is_one_line(story: str, arguments: list[str], said: str):
    assert said in mistake(story, *arguments)


def test_a_scenario_that_is_not_there_names_those_that_are():
    assert "gas-drift, gestures, sensors, watch" in mistake("no-such-file.yaml")


def test_a_folder_that_holds_no_whole_bundle_is_refused(story: str, tmp_path: Path):
    assert "has no manifest.json" in mistake(story, "--bundle", str(tmp_path))
    for name, data in tiny_bundle().items():
        (tmp_path / name).write_bytes(data[:-1] if name == "adapt.onnx" else data)
    assert "adapt.onnx is not the file" in mistake(story, "--bundle", str(tmp_path))


def test_ctrl_c_ends_it_without_a_trace(story: str, monkeypatch: pytest.MonkeyPatch):
    def pressed(
        *_: object,
    ) -> None:  # a real signal may fall into a weak reference's callback, which swallows it
        raise KeyboardInterrupt

    monkeypatch.setattr(acclimate.simulation, "simulate", pressed)
    result = simulate(story)
    assert result.exit_code == 130
    assert "stopped; seed 0 tells the same story again" in result.stderr
