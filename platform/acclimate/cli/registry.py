"""`acclimate runs`, `acclimate versions` and `acclimate ui`: what MLflow holds."""

from __future__ import annotations

import threading
import webbrowser
from dataclasses import asdict

import click

from acclimate.cli.options import json_option, tracking_option
from acclimate.cli.output import next_step, out, print_json, print_table
from acclimate.errors import RegistryError


@click.command()
@click.argument("experiment", required=False)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest runs shown.")
@tracking_option
@json_option
def runs(experiment: str | None, limit: int, tracking_uri: str | None, json: bool) -> None:
    """List training runs, newest first."""
    from acclimate.registry import Registry

    found = Registry.open(tracking_uri).runs(experiment, limit)
    if json:
        print_json([asdict(run) for run in found])
        return
    rows = [
        (
            run.experiment,
            run.name,
            run.status.lower(),
            None if run.duration_s is None else f"{run.duration_s:.0f} s",
            run.tags.get("recipe_hash", "")[:12],
            run.run_id,
        )
        for run in found
    ]
    print_table("Runs", ("experiment", "run", "status", "took", "recipe", "mlflow run"), rows)
    if not found:
        next_step("acclimate train watch", "make the first run")


@click.command()
@click.argument("name", required=False)
@click.option("--point", metavar="ALIAS=REF", help="Point an alias of NAME at a version.")
@tracking_option
@json_option
def versions(name: str | None, point: str | None, tracking_uri: str | None, json: bool) -> None:
    """List registered initializations, newest first; --point moves an alias."""
    from acclimate.registry import Registry

    registry = Registry.open(tracking_uri)
    if point is not None:
        alias, equals, ref = point.partition("=")
        if name is None or not equals or not alias or not ref:
            raise RegistryError(
                f"--point {point!r}: give NAME --point ALIAS=REF, e.g. watch --point champion=3"
            )
        registry.set_alias(name, alias, registry.version(name, ref).version)
    found = registry.versions(name)
    if json:
        print_json([asdict(version) for version in found])
        return
    rows = [
        (
            version.name,
            version.version,
            ", ".join(version.aliases),
            version.content_hash[:12],
            version.tags.get("data_source", ""),
            version.created.astimezone().strftime("%Y-%m-%d %H:%M"),
            version.run_id,
        )
        for version in found
    ]
    print_table(
        "Versions", ("name", "version", "aliases", "content", "data", "registered", "mlflow run"), rows
    )
    if not found:
        next_step("acclimate train watch", "make the first version")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="0 picks one.")
@click.option("--browser/--no-browser", default=True, help="Open a browser window.")
@tracking_option
def ui(port: int, browser: bool, tracking_uri: str | None) -> None:
    """Open MLflow's pages on the embedded store, on this machine only, until Ctrl-C."""
    from acclimate.registry import Registry
    from acclimate.registry.server import serving

    location = Registry.open(tracking_uri).location
    if location.is_server:
        out.print(location.tracking_uri)
        if browser:
            webbrowser.open(location.tracking_uri)
        return
    with serving(location, port) as url:
        out.print(f"MLflow at {url}  (Ctrl-C ends it)", highlight=False)
        if browser:
            webbrowser.open(url)
        wait_for_interrupt()


def wait_for_interrupt() -> None:
    """Until Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        out.print("ended")
