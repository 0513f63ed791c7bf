"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class LocalPath(click.Path):
    """A path of this machine. A URL would become folders of that name, and nothing at all the current one."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(path_type=Path, **attributes)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("nothing is given: write a path", param, ctx)
        if isinstance(value, str) and "://" in value:
            self.fail(f"{value!r} is a URL: give a path of this machine", param, ctx)
        return super().convert(value, param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
tracking_option = click.option(
    "--tracking-uri",
    metavar="URI",
    help="MLflow store: http(s) server or database; default MLFLOW_TRACKING_URI, else the embedded one.",
)


def output_option(meaning: str, **attributes: Any) -> Any:
    """`-o/--output`, where a command writes a file or a folder."""
    return click.option("-o", "--output", type=LocalPath(), help=meaning, **attributes)
