"""Options that many commands share."""

from __future__ import annotations

import click

json_option = click.option("--json", is_flag=True, help="Print JSON for scripts.")
tracking_option = click.option(
    "--tracking-uri",
    metavar="URI",
    help="MLflow store: http(s) server or database; default MLFLOW_TRACKING_URI, else the embedded one.",
)
