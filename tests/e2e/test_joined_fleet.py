"""`acclimate simulate --join`: devices and a rollout on a service that runs already, by commands alone."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from acclimate.cli.main import cli
from acclimate.errors import ScenarioError
from acclimate.simulation import ServiceProcess
from tests.support.fleet_journey import Operator, all_is_there, roll_out, sign_two_versions

pytestmark = pytest.mark.slow


def test_commands_alone_bring_a_version_to_devices_that_joined(tmp_path: Path) -> None:
    sign_two_versions(tmp_path)
    with ServiceProcess(tmp_path, TICK_S="0.2") as service:
        operator = Operator(service.url, service.token)
        roll_out(operator, tmp_path)
        service.kill()
        service.start()
        all_is_there(operator)


def test_a_simulated_clock_cannot_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_TOKEN", "acl_of-someone")
    root = tmp_path / "1.root.json"
    root.write_text("{}")
    told = CliRunner().invoke(cli, ["simulate", "gestures", "--join", str(root)]).exception
    assert isinstance(told, ScenarioError)
    assert "set clock=wall" in str(told)
