"""`acclimate demo`: the main job on real data, end to end, and then its pages."""

from __future__ import annotations

import os
import time

import click

from acclimate.cli.output import next_step, out
from acclimate.cli.registry import wait_for_interrupt
from acclimate.cli.train import run_job, show_outcome


@click.command()
@click.option(
    "--wait/--no-wait",
    default=lambda: os.environ.get("WAIT", "1") != "0",
    help="Keep MLflow's pages open until Ctrl-C; the environment's WAIT=0 means --no-wait.",
)
def demo(wait: bool) -> None:
    """Meta-train on real smartwatch recordings with Ray, register in MLflow, show how new people adapt."""
    from acclimate.training.recipe_file import load_recipe

    began = time.monotonic()
    recipe = load_recipe("watch")
    out.print(f"Acclimate demo: {recipe.description}", style="bold", markup=False)
    show_outcome(run_job(recipe, resume=False, tracking_uri=None, again="acclimate train watch"))
    out.print(f"took {time.monotonic() - began:.0f} s", highlight=False)
    if wait:
        show_pages()
    else:
        next_step("acclimate ui", "look at the run, its curves and the version in MLflow")


def show_pages() -> None:
    """Serve MLflow's pages until Ctrl-C."""
    from acclimate.registry import Registry
    from acclimate.registry.server import serving

    with serving(Registry.open().location) as url:
        out.print(f"MLflow at {url}  (Ctrl-C ends the demo)", highlight=False)
        wait_for_interrupt()
