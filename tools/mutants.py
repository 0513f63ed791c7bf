"""Mutation testing of the rooms that must not be wrong: `python tools/mutants.py [ROOM ...] [--minutes M]`.

cosmic-ray makes one small change at a time in a copy of the checkout and runs the room's tests, first those
that noticed the last change. A mutant that no test notices is a test that is missing, or code that says
nothing. Survivors are listed with their lines under `out/mutants`; `tools/mutants-accepted.txt` holds those
that nobody could notice, each with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import WorkerOutcome, WorkItem, WorkResult

ROOT = Path(__file__).parents[1]
ACCEPTED = Path(__file__).with_name("mutants-accepted.txt")
ENOUGH = 0.9


def of_device(names: str) -> str:
    """Files of tests of the device, the quick ones first."""
    return " ".join(f"tests/unit/device/test_{name}.py" for name in names.split())


# A room: its source, and the tests that are to notice.
ROOMS = {
    "domain": ("platform/acclimate/rollout/domain", "tests/unit/rollout/domain"),
    "learners": ("platform/acclimate/learners", "tests/unit/learners"),
    "storage": (
        "device_sdk/acclimate_device/storage",
        of_device("queue trouble damage transport agent contributing model power_cuts"),
    ),
    "online": (
        "device_sdk/acclimate_device/online",
        of_device("inputs realign device anomaly contributing forecaster closed_form reordering trouble"),
    ),
    "telemetry": (
        "device_sdk/acclimate_device/telemetry",
        of_device("queue bounds privacy device trouble damage model"),
    ),
}
# `|` stands in annotations, which nobody evaluates; ruff refuses `is` with a literal.
UNNOTICED = re.compile(
    r"core/Replace(BinaryOperator_BitOr_.*|ComparisonOperator_(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq))$"
)
CONFIG = """
[cosmic-ray]
module-path = "{source}"
timeout = 300.0
excluded-modules = []
test-command = "{python} -m pytest -q -x --ff -m 'not slow and not nightly' {tests}"

[cosmic-ray.distributor]
name = "local"
"""


def main() -> int:
    """Try the rooms asked for; 1 where fewer than nine of ten mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)} [default: all]")
    parser.add_argument("--sample", type=int, help="so many mutants a room, drawn by --seed [default: all]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="of a room, after which what was tried counts")
    options = parser.parse_args()
    if unknown := set(options.rooms) - set(ROOMS):
        parser.error(f"no room is called {', '.join(unknown)}: there are {', '.join(ROOMS)}")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        left_out = shutil.ignore_patterns(".git", ".venv", "out", "acclimate-home", "__pycache__")
        shutil.copytree(ROOT, tree, ignore=left_out)
        shares = [score(room, tree, options) for room in options.rooms or ROOMS]
    return 0 if min(shares) >= ENOUGH else 1


def score(room: str, tree: Path, options: argparse.Namespace) -> float:
    """Try a room's mutants, print what survived, and give the share that was killed."""
    source, tests = ROOMS[room]
    config, session = tree / f"{room}.toml", tree / f"{room}.sqlite"
    config.write_text(CONFIG.format(source=source, tests=tests, python=sys.executable))
    for step in (["init", config.name, session.name], ["baseline", config.name]):
        subprocess.run([cosmic_ray(), *step], cwd=tree, check=True)
    with use_db(str(session), WorkDB.Mode.open) as work:
        skip(work, options.sample, options.seed)
    run_for(options.minutes, [cosmic_ray(), "exec", config.name, session.name], tree)
    with use_db(str(session), WorkDB.Mode.open) as work:
        items = {item.job_id: item for item in work.work_items}
        tried = {job: found for job, found in work.results if found.worker_outcome != WorkerOutcome.SKIPPED}
    survivors = [about(items[job], found) for job, found in tried.items() if not found.is_killed]
    share = 1 - len(survivors) / max(len(tried), 1)
    print(f"{room}: {share:.0%} of {len(tried)} mutants killed; these survived:")
    print(*(f"  {one['name']}" for one in survivors), sep="\n", flush=True)
    output = ROOT / "out" / "mutants"
    output.mkdir(parents=True, exist_ok=True)
    document = {"killed": share, "tried": len(tried), "survivors": survivors}
    (output / f"{room}.json").write_text(json.dumps(document, indent=2) + "\n")
    return share


def run_for(minutes: float | None, command: list[str], folder: Path) -> None:
    """Run a command, and end it with all that it started when its time is over."""
    with subprocess.Popen(command, cwd=folder, start_new_session=True) as process:
        try:
            if process.wait(None if minutes is None else 60 * minutes):
                raise subprocess.CalledProcessError(process.returncode, command)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def skip(work: WorkDB, sample: int | None, seed: int) -> None:
    """Leave out what nobody could notice, and all but the sample."""
    pending: list[WorkItem] = sorted(work.pending_work_items, key=name)
    known = accepted()
    seen = [item for item in pending if not UNNOTICED.match(item.mutations[0].operator_name)]
    wanted = [item for item in seen if name(item) not in known]
    if sample is not None and sample < len(wanted):
        wanted = random.Random(seed).sample(wanted, sample)
    kept = {item.job_id for item in wanted}
    left_out = [item.job_id for item in pending if item.job_id not in kept]
    work.set_multiple_results(left_out, WorkResult(WorkerOutcome.SKIPPED))


def accepted() -> set[str]:
    """The mutants that nobody could notice."""
    lines = ACCEPTED.read_text().splitlines()
    return {line.partition(" # ")[0].strip() for line in lines if not line.startswith("#")}


def name(item: WorkItem) -> str:
    """A mutant as a line of a list: where, and which change."""
    one = item.mutations[0]
    return f"{one.module_path}:{one.start_pos[0]} {one.operator_name.removeprefix('core/')} {one.occurrence}"


def about(item: WorkItem, found: WorkResult) -> dict[str, Any]:
    """A survivor, for the file."""
    return {"name": name(item), "diff": found.diff}


def cosmic_ray() -> str:
    """The command beside this Python."""
    return str(Path(sys.executable).with_name("cosmic-ray"))


if __name__ == "__main__":
    sys.exit(main())
