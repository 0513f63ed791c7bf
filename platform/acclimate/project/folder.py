"""Writes the folder: recordings of a made-up fleet, and the files of a project around them."""

from __future__ import annotations

import csv
import os
import re
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np

from acclimate.errors import AcclimateError
from acclimate.project.commands import COMMANDS

DEVICES, ROWS, STRETCH = 20, 600, 30
RATE_HZ = 10
STATES = ("idle", "pumping", "blocked")
PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


class ProjectError(AcclimateError):
    """A project cannot be made under that name or in that place."""


def make_project(name: str, parent: Path) -> Path:
    """Make the folder `parent / name`, whole or not at all.

    Raises:
        ProjectError: the name is none, or something is there already.
    """
    if not re.fullmatch(PATTERN, name):
        raise ProjectError(
            f"{name!r} is no name for a project: use letters, digits, '-', '_', '.', a letter first"
        )
    folder = parent / name
    if folder.exists():
        raise ProjectError(f"{folder} exists: give another name, or move it away")
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}.") as scratch:
        made = Path(scratch) / name
        made.mkdir()
        write_recordings(made / "recordings.csv")
        for file in ("recipe.yaml", "device.py", "README.md"):
            template = resources.files("acclimate.project") / "templates" / f"{file}.tmpl"
            (made / file).write_text(_filled(template.read_text("utf-8"), name))
        os.replace(made, folder)
    return folder


def write_recordings(path: Path) -> None:
    """Twenty pumps, ten rows a second, each mounted in its own way: which sensor rises when differs."""
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["device", "time_s", "pressure_bar", "flow_l_s", "state"])
        for device in range(DEVICES):
            row = np.arange(ROWS)
            state = row // STRETCH % len(STATES)
            angle, level = random.uniform(0, 2 * np.pi), random.normal(scale=0.5, size=2)
            shape = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.9]])[state]
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            values = 2 * shape @ turn.T + level + random.normal(scale=0.35, size=(ROWS, 2))
            for at, (pressure, flow) in enumerate(np.round(values, 4).tolist()):
                writer.writerow(
                    [f"pump-{device:02d}", f"{at / RATE_HZ:g}", pressure, flow, STATES[state[at]]]
                )


def _filled(text: str, name: str) -> str:
    steps = "\n".join(f"{command.of(name)}   # {command.why}" for command in COMMANDS)
    expected = "\n".join(f"| `{command.of(name)}` | `{command.promise(name)}` |" for command in COMMANDS)
    return text.replace("@NAME@", name).replace("@COMMANDS@", steps).replace("@EXPECTED@", expected)
