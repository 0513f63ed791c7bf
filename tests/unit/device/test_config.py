"""The agent's configuration and its command line: a user's mistake gets one clear line."""

import json
from pathlib import Path

import pytest

from acclimate_device.agent import AgentConfig
from acclimate_device.agent.main import main
from acclimate_device.errors import ConfigError

GOOD = {"service": "https://fleet.example.org", "state": "state", "root": "root.json"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"servise": "x"}, "unknown key 'servise': did you mean 'service'"),
        ({"service": "http://fleet.example.org"}, "use https"),
        ({"service": "fleet"}, "give a URL"),
        ({"timeout_s": -1}, "give seconds above 0"),
        ({"timeout_s": True}, "give seconds above 0"),
        ({"attributes": {"a": [1]}}, "attributes must be"),
        ({"hardware_id": 7}, "give a string"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AgentConfig.of({**GOOD, **changes}, Path())


@pytest.mark.parametrize("missing", GOOD)
def test_a_missing_key_is_named(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"'{missing}' is missing"):
        AgentConfig.of({key: value for key, value in GOOD.items() if key != missing}, Path())


def test_plain_http_is_allowed_on_this_machine_only() -> None:
    assert AgentConfig.of({**GOOD, "service": "http://127.0.0.1:8080"}, Path()).service.endswith("8080")


def test_the_command_line_speaks_in_one_line(tmp_path: Path, capsys) -> None:
    assert main(["--config", str(tmp_path / "none.toml"), "status"]) == 2
    assert "No such file" in capsys.readouterr().err
    path = tmp_path / "device.toml"
    path.write_text('service = "https://fleet.example.org"\nstate = "state"\nroot = "root.json"\n')
    assert main(["--config", str(path), "once"]) == 2
    assert "copy root.json of the repository here" in capsys.readouterr().err
    (tmp_path / "root.json").write_text("{}")
    assert main(["--config", str(path), "once"]) == 2
    assert "not enrolled" in capsys.readouterr().err
    assert main(["--config", str(path), "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["good"] == "factory (slot factory)"
    assert (told["device"], told["hardware"]) == ("not enrolled", "unknown, 0 starts")
