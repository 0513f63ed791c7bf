"""One process at a time trains in a run's directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from acclimate.errors import TrainingError
from acclimate.training.run_directory import RunDirectory

HOLD = """
import sys
from pathlib import Path
from acclimate.training.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_trains_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(TrainingError, match=f"is being trained by process {holder.pid} on"),
        RunDirectory(tmp_path).held(),
    ):
        pass
    holder.kill()
    holder.wait()
    with RunDirectory(tmp_path).held():
        pass
