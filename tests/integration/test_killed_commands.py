"""Commands killed on their way through the file system: what they make is whole or not there, and begun again
they end as if nothing had been."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.registered import register

pytestmark = pytest.mark.slow


def recordings(folder: Path) -> None:
    row, random = np.arange(300), np.random.default_rng(0)
    table = {"device": row // 50, "x": random.normal(size=300), "state": np.where(row % 50 < 25, "a", "b")}
    pd.DataFrame(table).to_csv(folder / "rows.csv", index=False)


def a_version(folder: Path) -> None:
    del folder  # it lies in the home
    register()


COMMANDS: dict[str, tuple[Callable[[Path], None], str, list[str]]] = {
    "init": (recordings, "rows.yaml", ["init", "rows.csv", "--force"]),
    "export": (a_version, "bundle", ["export", "watch@1", "--output", "bundle"]),
}


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("init", 2),
        pytest.param("init", 20, marks=pytest.mark.nightly),
        pytest.param("export", 12, marks=[pytest.mark.nightly, pytest.mark.timeout(1200)]),
    ],
)
def test_what_a_killed_command_makes_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, points: int
) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    prepare, output, command = COMMANDS[name]
    (tmp_path / "whole").mkdir()
    prepare(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    if not (tmp_path / "home").exists():
        monkeypatch.setenv("ACCLIMATE_HOME", "home")  # in either folder one of its own
    sizes = [str(points), str(len(name))]
    killing = [sys.executable, "-m", "tests.support.killed_command", "whole", "cut", output, *sizes, *command]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    alone = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}  # no step is that of an import
    alone |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # no thread is lost in a fork
    done = subprocess.run(killing, cwd=tmp_path, env=os.environ | alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
