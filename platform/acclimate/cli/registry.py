"""`acclimate runs`, `acclimate versions` and `acclimate ui`: what MLflow holds."""

from __future__ import annotations

import signal
import threading
import webbrowser
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from acclimate.cli.options import json_option, tracking_option
from acclimate.cli.output import err, next_step, print_json, print_table, say
from acclimate.errors import RegistryError

if TYPE_CHECKING:
    from acclimate.registry import Registry


@click.command()
@click.argument("experiment", required=False)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest runs shown.")
@tracking_option
@json_option
def runs(experiment: str | None, limit: int, tracking_uri: str | None, as_json: bool) -> None:
    """List training runs, newest first."""
    from acclimate.registry import Registry

    registry = Registry.open(tracking_uri)
    found = registry.runs(experiment, limit)
    if as_json:
        print_json([asdict(run) for run in found])
        return
    rows = [
        (
            run.experiment,
            run.name,
            run.status.lower(),
            None if run.duration_s is None else f"{run.duration_s:.0f} s",
            run.run_id,
        )
        for run in found
    ]
    print_table("Runs", ("experiment", "run", "status", "took", "mlflow run"), rows)
    if found:
        next_step(f"acclimate versions {found[0].experiment}", "what they registered", ["tracking_uri"])
    else:
        say(f"no run is recorded in {registry.where}")
        next_step("acclimate train watch", "make the first run")


@click.command()
@click.argument("name", required=False)
@click.option("--point", metavar="ALIAS=REF", help="Point an alias of NAME at a version.")
@tracking_option
@json_option
def versions(name: str | None, point: str | None, tracking_uri: str | None, as_json: bool) -> None:
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
    if as_json:
        print_json([asdict(version) for version in found])
        return
    rows = [
        (
            version.name,
            version.version,
            ", ".join(version.aliases),
            version.tags.get("data_source", ""),
            version.created.astimezone().strftime("%Y-%m-%d %H:%M"),
            version.run_id,
        )
        for version in found
    ]
    print_table("Versions", ("name", "version", "aliases", "data", "registered", "mlflow run"), rows)
    if found:
        newest = f"{found[0].name}@{found[0].version}"
        next_step(
            f"acclimate export {newest} -o bundle", "turn it into what a device receives", ["tracking_uri"]
        )
    else:
        say(f"no version is registered in {registry.where}")
        next_step("acclimate train watch", "make the first version")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="0 picks one.")
@click.option("--browser/--no-browser", default=True, help="Open a browser window.")
@tracking_option
def ui(port: int, browser: bool, tracking_uri: str | None) -> None:
    """Open MLflow's pages on the embedded store, on this machine only, until Ctrl-C."""
    from acclimate.registry import Registry
    from acclimate.registry.server import serving

    registry = Registry.open(tracking_uri)
    if registry.location.is_server:
        _show_pages(registry, registry.location.tracking_uri, browser)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends MLflow's server as Ctrl-C does
    with err.status("starting MLflow"):
        opened = ExitStack()
        url = opened.enter_context(serving(registry.location, port))
    with opened:
        say("MLflow runs until Ctrl-C:")
        _show_pages(registry, url, browser)
        wait_for_interrupt()


def _show_pages(registry: Registry, url: str, browser: bool) -> None:
    """Print where runs and versions are. MLflow greets with its pages for GenAI unless told otherwise."""
    newest = registry.runs(None, 1)
    which = f"/{registry.experiment_id(newest[0].experiment)}/runs" if newest else ""
    pages = {"runs": f"{url}/#/experiments{which}", "versions": f"{url}/#/models"}
    for name, page in pages.items():
        say(f"  {name:<8}  {page}?workflowType=machine_learning")
    if browser:
        webbrowser.open(f"{pages['runs']}?workflowType=machine_learning")


def wait_for_interrupt() -> None:
    """Until Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        say("ended")
