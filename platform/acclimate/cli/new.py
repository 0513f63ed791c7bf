"""`acclimate new`: a folder to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from acclimate.cli.options import json_option
from acclimate.cli.output import next_step, print_json, say
from acclimate.project import COMMANDS, make_project


@click.command()
@click.argument("name")
@json_option
def new(name: str, as_json: bool) -> None:
    """Make the folder NAME: sample data, a recipe and a device application.

    Prints the five commands to a first result, and what their output holds.
    """
    folder = make_project(name, Path.cwd())
    files = sorted(path.name for path in folder.iterdir())
    if as_json:
        steps = [{"command": one.of(name), "expect": one.promise(name)} for one in COMMANDS]
        print_json({"folder": str(folder), "files": files, "commands": steps})
        return
    say(f"made {name}/ with {', '.join(files)}; in it:")
    width = max(len(one.of(name)) for one in COMMANDS)
    for one in COMMANDS:
        say(f"  {one.of(name):<{width}}  # {one.why}; prints: {one.promise(name)}")
    next_step(f"cd {name}", "then the commands above")
