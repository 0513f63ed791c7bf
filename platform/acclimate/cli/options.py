"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
tracking_option = click.option(
    "--tracking-uri",
    metavar="URI",
    help="MLflow store: http(s) server or database; default MLFLOW_TRACKING_URI, else the embedded one.",
)


def output_option(meaning: str, **attributes: Any) -> Any:
    """`-o/--output`, where a command writes a file or a folder."""
    return click.option("-o", "--output", type=click.Path(path_type=Path), help=meaning, **attributes)
