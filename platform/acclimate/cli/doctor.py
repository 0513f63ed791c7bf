"""`acclimate doctor`: is this installation fit for work, and the text of a bug report."""

from __future__ import annotations

import importlib.metadata
import json as json_format
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.progress import Progress, SpinnerColumn, TextColumn

import acclimate
from acclimate.cli.options import json_option
from acclimate.cli.output import err, next_step, print_json, say
from acclimate.diagnosis import Finding, configuration, diagnose

REPORTED: tuple[str, ...] = (
    "acclimate-device",
    "torch",
    "ray",
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "pyarrow",
)
REPORTED += ("fastapi", "sqlalchemy", "pydantic", "tuf", "kfp")  # the packages whose versions explain a bug
STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "error": "red"}


@click.command()
@click.option("--report", is_flag=True, help="Print Markdown to paste into a bug report.")
@click.option(
    "--target",
    type=click.Choice(["c"]),
    help="Look at what microcontrollers need instead: the C runtime, compilers, an emulated board.",
)
@json_option
def doctor(report: bool, target: str | None, as_json: bool) -> None:
    """Look at this installation and say what to do.

    Checks Python, the extras, machine, data directory, MLflow registry, Ray cluster and rollout service as
    the environment names them; changes nothing. Exits with 1 if something that is configured does not work.
    """
    columns = (SpinnerColumn(), TextColumn("looking"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task("")
        if target == "c":
            from acclimate.bundle.mcu.toolchain import toolchain

            findings = [Finding(*found) for found in toolchain()]
        else:
            findings = list(diagnose(configuration(os.environ, _saved_url())))
    broken = any(one.level == "error" for one in findings)
    if as_json:
        print_json(
            {
                "ok": not broken,
                "version": acclimate.__version__,
                "findings": [*map(Finding.as_dict, findings)],
            }
        )
    elif report:
        print(bug_report(findings))
    else:
        _show(findings)
        if not broken and target == "c":
            next_step("acclimate export NAME --target c -o firmware", "the sources of a firmware")
        elif not broken:
            next_step("acclimate demo", "the main job on real data; with yours: acclimate init")
    sys.exit(1 if broken else 0)


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(one.check) for one in findings)
    for one in findings:
        say(f"{one.level:>7}", STYLES[one.level], end="  ")
        say(f"{one.check:<{width}}  {one.found}")
        if one.remedy:
            say(f"{'':>7}  {'':<{width}}  -> {one.remedy}")


def _saved_url() -> str | None:
    """The service of the last `acclimate login`; None without one, or without the extra that logs in."""
    try:
        from acclimate.client import credentials_file
    except ModuleNotFoundError:
        return None
    try:
        return str(json_format.loads(credentials_file().read_text("utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def bug_report(findings: Sequence[Finding]) -> str:
    """Text to paste into a bug report: versions and findings, no secret and no content of files."""
    lines = ["### Environment", "", f"- acclimate {acclimate.__version__}"]
    lines.append(f"- Python {platform.python_version()} on {platform.platform()}")
    lines += [f"- {name} {version}" for name in REPORTED if (version := _version(name))]
    lines += ["", "### `acclimate doctor`", ""]
    person = str(Path.home())
    for one in findings:
        found = one.found if person == "/" else one.found.replace(person, "~")
        lines.append(f"- {one.level}: {one.check}: {found}")
    lines += ["", "### What I did", "", "(the command)", "", "### What happened, and what I expected", ""]
    return "\n".join(lines)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
