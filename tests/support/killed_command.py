"""A command of ours, killed at steps drawn from its way through the file system and then left to end:
`python -m tests.support.killed_command WHOLE CUT OUTPUT POINTS SEED COMMAND...`.

WHOLE and CUT are folders with the same in them. In WHOLE the command runs undisturbed and its steps are
counted. In CUT it dies at step after step of the sample, and is begun again each time as if by the person who
saw it end. OUTPUT, a file or folder in each, must be whole or not there after every kill, and in the end be
there, the same, with no scratch beside it.

Exits 1 with the reason if not.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from tests.support.kills import die_at, in_a_child, steps_of

HEAVY = ("acclimate.bundle.registered", "acclimate.evaluation", "acclimate.registry", "acclimate.tasks")


def main() -> None:
    """Read the arguments, kill, look."""
    whole, cut = (Path(argument).absolute() for argument in sys.argv[1:3])
    output, points, seed, command = sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6:]
    from acclimate.cli.main import cli

    for name in HEAVY:  # once, for all children
        import_module(name)

    def run() -> None:
        cli.main(command, standalone_mode=False)

    counted = whole.parent / f"{whole.name}.steps"
    status = in_a_child(inside(whole, lambda: counted.write_text(str(steps_of(run)))))
    assert status == 0, f"the command alone ended with {status}"
    wanted, most = contents(whole / output), int(counted.read_text())
    assert wanted, "the command wrote nothing"
    for step in sorted(random.Random(seed).sample(range(1, most + 1), points)):
        status = in_a_child(inside(cut, partial(cut_short, run, step)))
        print(f"step {step} of {most}: {status}", flush=True)
        assert status in (-9, 0), f"killed at step {step} it ended with {status}"
        assert contents(cut / output) in ({}, wanted), f"half of it is there after a kill at step {step}"
    status = in_a_child(inside(cut, run))
    assert status == 0, f"begun again it ended with {status}"
    assert contents(cut / output) == wanted
    left = [str(path) for path in cut.rglob(".*.new-*")]
    assert not left, left


def cut_short(act: Callable[[], object], step: int) -> None:
    """`act`, until it dies at this step."""
    die_at(step)
    act()


def inside(folder: Path, act: Callable[[], object]) -> Callable[[], object]:
    """`act` with `folder` as the current one."""

    def acted() -> None:
        os.chdir(folder)
        act()

    return acted


def contents(path: Path) -> dict[str, bytes]:
    """Of a file or of all files below a folder; empty where there is neither."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


if __name__ == "__main__":
    main()
