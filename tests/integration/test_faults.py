"""Commands where the world is broken: one line that names the thing, exit code 2, no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def acclimate(*arguments: object, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ACCLIMATE_HOME": str(home), **variables}
    command = [sys.executable, "-m", "acclimate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home.parent)


def one_line(done: subprocess.CompletedProcess[str], *words: object) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert str(word) in done.stderr


def test_a_home_that_is_a_file(tmp_path):
    (tmp_path / "home").write_text("not a folder")
    one_line(acclimate("serve", "--migrate-only", home=tmp_path / "home"), tmp_path / "home")


def test_a_damaged_database_of_the_service(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "rollout.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    one_line(acclimate("serve", "--migrate-only", home=home), home / "rollout.db")


def test_settings_out_of_range(tmp_path):
    one_line(acclimate("serve", home=tmp_path, ACCLIMATE_PORT="99999999"), "ACCLIMATE_PORT", "65535")
    one_line(acclimate("recipes", home=tmp_path, ACCLIMATE_LOG_LEVEL="loud"), "ACCLIMATE_LOG_LEVEL", "'loud'")


def test_a_misspelt_command_is_suggested(tmp_path):
    done = acclimate("trian", home=tmp_path)
    assert done.returncode == 2
    assert "Did you mean" in done.stderr
    assert "'train'" in done.stderr


def test_control_c_is_130(tmp_path):
    command = [sys.executable, "-m", "acclimate", "simulate", "gestures", "--set", "duration=7d"]
    environment = {**os.environ, "ACCLIMATE_HOME": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        running.stderr.readline()  # the first line of progress: it is at work
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == 130
    assert "Traceback" not in said


@pytest.mark.nightly
def test_a_full_disk_while_a_pool_is_built(tmp_path):
    script = (
        'mount -t tmpfs -o size=3m none "$1" && cd "$1" && "$2" -c "$3" && '
        'ACCLIMATE_HOME="$1/home" exec "$2" -m acclimate data build rows.parquet --recordings r.yaml'
    )
    rows = (
        "import numpy as np, pandas as pd; n = 400_000\n"
        "pd.DataFrame({'device': np.arange(n) % 10, 'x': 0.0, 'y': 1.0}).to_parquet('rows.parquet')\n"
        "open('r.yaml', 'w').write('kind: regression\\ntask: device\\nchannels: [x]\\ntargets: [y]\\n')\n"
    )
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, rows]
    done = subprocess.run(command, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system of its own can be mounted here: {done.stderr.strip()}")
    one_line(done, "No space left on device", f"{tmp_path}/home/pools")


@pytest.mark.nightly
def test_a_registry_that_is_damaged_or_was_moved(tmp_path):
    home = tmp_path / "home"
    few = ("--set", "training.steps=2", "--set", "evaluation.tasks=2")
    trained = acclimate("train", "sinusoid", "--workers", 0, *few, home=home)
    assert trained.returncode == 0, trained.stderr
    home.rename(tmp_path / "moved")
    exported = acclimate("export", "sinusoid@1", "-o", "bundle", home=tmp_path / "moved")
    one_line(exported, "moved", home / "artifacts")
    database = tmp_path / "moved" / "mlflow.db"
    database.write_bytes(b"not a database" * 1000)
    one_line(acclimate("versions", home=tmp_path / "moved"), "mlflow.db", "not a database")
