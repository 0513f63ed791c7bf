"""`acclimate compare`: which learner and which network, by evidence from the whole fleet."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acclimate.cli.advice import say_without_bundle
from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import next_step, note, print_json, print_table, say, word
from acclimate.cli.train import change_option
from acclimate.errors import TrainingError
from acclimate.files import write_whole

if TYPE_CHECKING:
    from acclimate.workflow import Comparison


@click.command()
@click.argument("recipe")
@click.option("--folds", type=click.IntRange(3), default=5, show_default=True, help="Parts of the fleet.")
@click.option(
    "--learner",
    "learners",
    multiple=True,
    metavar="NAME",
    help="Learner to try [default: sensible ones].",
)
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Network to try [default: sensible ones]."
)
@click.option(
    "--workers", type=click.IntRange(0), help="Jobs at a time; 0: in this process [default: one a core]."
)
@click.option("--address", metavar="CLUSTER", help="Run jobs on this Ray cluster.")
@click.option("--resume", is_flag=True, help="Go on with the newest comparison of this recipe.")
@click.option("--output", type=LocalPath(dir_okay=False), help="Where to write the recommended recipe.")
@click.option("--plot", type=LocalPath(dir_okay=False), help="Write the picture here too.")
@change_option
@json_option
def compare(
    recipe: str,
    folds: int,
    learners: tuple[str, ...],
    models: tuple[str, ...],
    workers: int | None,
    address: str | None,
    resume: bool,
    output: Path | None,
    plot: Path | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Try learners and networks for RECIPE on every device of the fleet, and write the recipe that is best.

    The fleet is cut into folds: each device is held out once, everybody's settings are chosen on other
    devices, and simple rivals are measured beside the learners. Ctrl-C keeps what is done; --resume goes on.
    """
    from acclimate.training.recipe_file import load_recipe
    from acclimate.training.stopping import stop_on_signals
    from acclimate.workflow import compare as run
    from acclimate.workflow import recommended_yaml

    loaded = load_recipe(recipe, changes)
    directory = _directory(loaded.name, resume)

    def tell(name: str, done: int, total: int) -> None:
        note(f"{done} of {total}: {name}")

    with stop_on_signals() as should_stop:
        found = run(
            loaded,
            directory,
            folds=folds,
            learners=learners,
            models=models,
            workers=os.cpu_count() or 1 if workers is None else workers,
            address=address,
            should_stop=should_stop,
            on_job=tell,
        )
    if found is None:
        note(f"stopped; finished jobs are in {directory}", "yellow")
        given = ["folds", "learners", "models", "workers", "address", "output", "plot", "changes", "as_json"]
        next_step(
            f"acclimate compare {word(recipe)} --resume", "go on with the rest, to the same table", given
        )
        sys.exit(should_stop.exit_code)
    if plot:
        write_whole(plot, found.plot.read_bytes())
    path = None
    if found.recommended is not None:
        path = output or Path(f"{loaded.name}.compared.yaml")
        write_whole(path, recommended_yaml(found))
    if as_json:
        print_json(
            {**found.found.as_json(), "recipe": None if path is None else str(path), "plot": str(found.plot)}
        )
        return
    _show(found, path)


def _show(comparison: Comparison, path: Path | None) -> None:
    from acclimate.evaluation import compared_table

    found = comparison.found
    say(found.verdict.sentence, "bold")
    columns, rows = compared_table(found)
    shots = f"{found.shots} {'shot' if found.shots == 1 else 'shots'}"
    print_table(f"{shots}, {found.devices} devices, each held out once; * recommended", columns, rows)
    say(f"picture: {comparison.plot}")
    if path is None:
        say_without_bundle(found.entry(found.recommended).start)
        return
    say(f"the recommended recipe is {path}")
    next_step(f"acclimate train {word(path)}", "train it on the whole fleet but the held-out devices")


def _directory(name: str, resume: bool) -> Path:
    """The comparison's own folder: a new one, or the newest unfinished."""
    from acclimate.home import home

    kept = home() / "compare" / name
    if not resume:
        return kept / datetime.now().strftime("%Y-%m-%dT%H-%M-%S.%f")
    found = sorted(
        path.parent for path in kept.glob("*/plan.json") if not path.with_name("comparison.json").exists()
    )
    if not found:
        raise TrainingError(
            f"no unfinished comparison of {name!r} is under {kept}: start one without --resume"
        )
    return found[-1]
