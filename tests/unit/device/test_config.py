"""The agent's configuration and its command line: a user's mistake gets one clear line."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from acclimate_device.agent import AgentConfig
from acclimate_device.agent.main import main
from acclimate_device.errors import ConfigError

GOOD = {"service": "https://fleet.example.org", "state": "state", "root": "root.json"}
BAD_URLS = [
    "https://",
    "https://fleet:99999",
    "https://fleet:https",
    "https://[::1",
    "https://a..b",
    "https://a b",
]
BAD_URLS += [f"https://{'a' * 64}.example.org", "https://fleet\x7f.example.org"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"servise": "x"}, "unknown key 'servise': did you mean 'service'"),
        ({"service": "http://fleet.example.org"}, "use https"),
        ({"service": "fleet"}, "give a URL"),
        ({"service": "https://ada:secret@fleet:x"}, "service is 'fleet:x': give a URL"),
        ({"timeout_s": -1}, "give seconds above 0"),
        ({"timeout_s": True}, "give seconds above 0"),
        ({"attributes": {"a": [1]}}, "attributes must be"),
        ({"hardware_id": 7}, "give a string"),
        *(({"service": url}, "give a URL") for url in BAD_URLS),
        *(({"repository": url}, "give a URL") for url in BAD_URLS),
        ({"service": "mqtts://user:secret@broker.example.org"}, "prove who asks"),
        ({"service": "https://fleet.example.org/?tenant=7"}, "more than a host, a port and a path"),
        ({"state": ""}, "state is '': give a path"),
        ({"root": "a\0b"}, "give a path"),
        ({"attributes": {"height": math.nan}}, "attributes.height is nan"),
        ({"attributes": {"height": math.inf}}, "attributes.height is inf"),
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


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        AgentConfig.of({**GOOD, "service": "https://user:secret@fleet.example.org"}, Path())
    assert "secret" not in str(refused.value)


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert AgentConfig.of({**GOOD, "state": "~/state"}, Path("/etc")).state == tmp_path / "state"
    with pytest.raises(ConfigError, match="has no home"):
        AgentConfig.of({**GOOD, "state": "~nobody-has-this-name/state"}, Path("/etc"))


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_files_are_utf8_whatever_the_locale(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "device.toml"
    text = 'service = "https://fleet.example.org"\nstate = "Süd"\nroot = "root.json"\ntoken_file = "token"\n'
    path.write_text(mark + text, "utf-8")
    (tmp_path / "root.json").write_text("{}")
    (tmp_path / "token").write_text(f"{mark}größer\r\n", "utf-8")
    code = (
        "import sys; from pathlib import Path; from acclimate_device.agent.config import *;"
        "config = AgentConfig.load(Path(sys.argv[1]));"
        "print(ascii(config.state.name), ascii(read_text(config.token_file, 'token').strip()))"
    )
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = subprocess.run([sys.executable, "-c", code, path], env=plain, capture_output=True, text=True)
    assert told.stdout.split() == ["'S\\xfcd'", "'gr\\xf6\\xdfer'"], told.stderr


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\xfc", b"\x00"])
def test_a_token_that_is_no_text_is_refused_in_one_line(tmp_path: Path, capsys, content: bytes) -> None:
    path = tmp_path / "device.toml"
    path.write_text(
        'service = "https://127.0.0.1:1"\nstate = "s"\nroot = "root.json"\ntoken_file = "token"\n'
    )
    (tmp_path / "root.json").write_text("{}")
    (tmp_path / "token").write_bytes(content)
    assert main(["--config", str(path), "enrol"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_ends_at_once_when_asked_though_a_request_hangs(tmp_path: Path, number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / "device.toml"
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        path.write_text(f'service = "{url}"\nstate = "state"\nroot = "root.json"\ntoken_file = "token"\n')
        (tmp_path / "root.json").write_text("{}")
        (tmp_path / "token").write_text("one-time-token")
        agent = subprocess.Popen([sys.executable, "-m", "acclimate_device.agent", "--config", path, "run"])
        try:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(4096)  # it asks, and nobody answers
                agent.send_signal(number)
                assert agent.wait(10.0) == 0
        finally:
            agent.kill()
            agent.wait()


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
