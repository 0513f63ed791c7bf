"""`acclimate new` and the five commands that it prints, run as printed."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from acclimate.cli.new import new
from acclimate.errors import AcclimateError
from acclimate.project import make_project


@pytest.mark.slow
def test_the_printed_commands_lead_to_what_they_promise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = json.loads(CliRunner().invoke(new, ["fans", "--json"]).stdout)
    assert made["files"] == ["README.md", "device.py", "recipe.yaml", "recordings.csv"]
    assert len(made["commands"]) == 5
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ACCLIMATE_HOME": str(tmp_path / "home"),
        "COLUMNS": "200",
    }
    for step in made["commands"]:
        assert step["command"] in (tmp_path / "fans" / "README.md").read_text()
        done = subprocess.run(
            shlex.split(step["command"]),
            cwd=made["folder"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert step["expect"] in done.stdout, step["command"]


def test_the_folder_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("../up", "", "a b", "-x"):
        with pytest.raises(AcclimateError, match="is no name for a project"):
            make_project(name, tmp_path)
    make_project("fans", tmp_path)
    with pytest.raises(AcclimateError, match="exists"):
        make_project("fans", tmp_path)
    assert os.listdir(tmp_path) == ["fans"]
