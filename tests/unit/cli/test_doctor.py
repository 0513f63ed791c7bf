import json
import socket
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import acclimate
from acclimate import diagnosis
from acclimate.cli.doctor import doctor
from acclimate.cli.main import cli

CONFIGURED = ("ACCLIMATE_URL", "ACCLIMATE_PORT", "ACCLIMATE_TRACES", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """Nothing configured, an empty home, and a port for the service that is free."""
    for name in CONFIGURED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("ACCLIMATE_PORT", str(port))


def looked(code: int) -> dict[str, dict[str, str]]:
    result = CliRunner().invoke(doctor, ["--json"])
    assert result.exit_code == code, result.output
    return {one["check"]: one for one in json.loads(result.stdout)["findings"]}


def test_a_machine_without_configuration_is_fit_and_nothing_is_made(tmp_path):
    found = looked(0)
    assert found["data directory"]["level"] == "ok"
    assert found["rollout service"]["level"] == "note"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("ACCLIMATE_URL", "rollout service"),
        ("MLFLOW_TRACKING_URI", "MLflow registry"),
        ("RAY_ADDRESS", "Ray"),
    ],
)
def test_what_is_configured_and_does_not_answer_is_an_error_with_a_remedy(monkeypatch, name, check):
    monkeypatch.setenv(name, "http://person:secret@127.0.0.1:9")
    found = looked(1)[check]
    assert found["level"] == "error"
    assert found["remedy"]
    assert "secret" not in json.dumps(found)


def test_traces_that_nobody_takes_are_an_error(monkeypatch):
    assert "traces" not in looked(0)
    monkeypatch.setenv("ACCLIMATE_TRACES", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    found = looked(1)["traces"]
    assert "127.0.0.1:9" in found["found"]
    assert "ACCLIMATE_TRACES" in found["remedy"]


def test_every_extra_is_looked_at():
    """But `dev`, which is for work on Acclimate itself."""
    root = Path(__file__).parents[3]
    extras = {
        extra
        for file in (root / "pyproject.toml", root / "device_sdk" / "pyproject.toml")
        for extra in tomllib.loads(file.read_text())["project"]["optional-dependencies"]
    }
    assert set(diagnosis.EXTRAS) == extras - {"dev"}


def test_a_port_taken_by_another_program_is_told(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("ACCLIMATE_PORT", str(other.getsockname()[1]))
        monkeypatch.setattr(diagnosis, "TIMEOUT_S", 0.3)
        assert "taken" in looked(0)["rollout service"]["found"]


def test_a_home_that_is_a_file_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "file"))
    assert looked(1)["data directory"]["level"] == "error"


def test_a_missing_extra_is_named_with_its_installation(monkeypatch):
    monkeypatch.setitem(diagnosis.EXTRAS, "train", (("torch", "no_such_module"), "train"))
    found = looked(0)["extra train"]
    assert found["level"] == "warning"
    assert "no_such_module" in found["found"]
    assert found["remedy"] == "pip install 'acclimate[train]'"


def test_the_bug_report_names_versions_and_every_finding():
    result = CliRunner().invoke(doctor, ["--report"])
    assert f"- acclimate {acclimate.__version__}" in result.stdout
    assert "- torch " in result.stdout
    assert "- ok: data directory: " in result.stdout


def test_the_version_is_printed():
    assert acclimate.__version__ in CliRunner().invoke(cli, ["--version"]).output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documented_line_completes(shell, monkeypatch):
    page = Path(__file__).parents[3] / "docs" / "how-to" / "shell-completion.md"
    assert f"_ACCLIMATE_COMPLETE={shell}_source acclimate" in page.read_text()
    monkeypatch.setenv("_ACCLIMATE_COMPLETE", f"{shell}_source")
    script = CliRunner().invoke(cli, prog_name="acclimate").output
    assert f"_ACCLIMATE_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("acclimate ro", {"rollout"}),
        ("acclimate data re", {"report"}),
        ("acclimate train --re", {"--resume"}),
    ],
)
def test_commands_and_options_are_offered(typed, offered, monkeypatch):
    monkeypatch.setenv("_ACCLIMATE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    output = CliRunner().invoke(cli, prog_name="acclimate").output
    assert {line.partition(",")[2] for line in output.splitlines()} == offered
