"""`acclimate tune`: find the inner loop's step size and number of steps."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acclimate.cli.main import STOPPED
from acclimate.cli.options import json_option, output_option
from acclimate.cli.output import next_step, note, print_json, print_table, say, word
from acclimate.cli.train import change_option
from acclimate.errors import RecipeError, TrainingError
from acclimate.files import write_whole

if TYPE_CHECKING:
    from acclimate.training.recipe import Recipe
    from acclimate.training.tuning import Trial

_SHOWN = 10


@click.command()
@click.argument("recipe")
@click.option(
    "--trials", type=click.IntRange(1), default=16, show_default=True, help="Sets of values to try."
)
@click.option(
    "--inner-lr",
    type=(click.FloatRange(0, min_open=True), click.FloatRange(0, min_open=True)),
    default=(0.003, 0.5),
    show_default=True,
    help="Step sizes, log-uniform from LOW to HIGH.",
)
@click.option(
    "--inner-steps",
    type=click.IntRange(1),
    multiple=True,
    default=(1, 2, 3, 5, 8),
    show_default=True,
    help="Numbers of steps.",
)
@click.option("--workers", type=click.IntRange(1), help="Trials at a time [default: one a core].")
@click.option("--address", metavar="CLUSTER", help="Run trials on this Ray cluster.")
@click.option("--resume", is_flag=True, help="Go on with the newest search of this recipe.")
@output_option("Where to write the tuned recipe.")
@change_option
@json_option
def tune(
    recipe: str,
    trials: int,
    inner_lr: tuple[float, float],
    inner_steps: tuple[int, ...],
    workers: int | None,
    address: str | None,
    resume: bool,
    output: Path | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Try inner step sizes and numbers of steps for RECIPE, and write a recipe with the best.

    Trials are judged on validation tasks (a fifth of the training groups where the recipe sets none aside),
    never on those that the final report tests on. Those that fall behind end early.
    """
    from acclimate.training.recipe_file import load_recipe, to_yaml
    from acclimate.training.tuning import Space, search, tuned

    if inner_lr[0] >= inner_lr[1]:
        raise RecipeError(f"--inner-lr {inner_lr[0]:g} {inner_lr[1]:g}: give the lower step size first")
    loaded = load_recipe(recipe, changes)
    directory = _directory(loaded.name, resume)

    def tell(number: int, trial: Trial) -> None:
        figures = "  ".join(f"{name} {value:.4f}" for name, value in trial.figures.items())
        note(
            f"trial {number} of {trials}: inner_lr {trial.inner_lr:.4g}, inner_steps {trial.inner_steps}: "
            f"{figures} after step {trial.step}"
        )

    found = search(
        loaded,
        Space(inner_lr, inner_steps),
        trials,
        directory,
        workers=workers or os.cpu_count() or 1,
        address=address,
        resume=resume,
        on_trial=tell,
    )
    if len(found) < trials:
        note(f"stopped after {len(found)} of {trials} trials; they are in {directory}", "yellow")
        given = ["trials", "inner_lr", "inner_steps", "workers", "address", "output", "changes", "as_json"]
        next_step(f"acclimate tune {word(recipe)} --resume", "go on with the rest", given)
        sys.exit(STOPPED)
    best = found[0]
    path = output or Path(f"{loaded.name}.tuned.yaml")
    write_whole(path, to_yaml(tuned(loaded, best)))
    if as_json:
        print_json({"best": asdict(best), "trials": [asdict(each) for each in found], "recipe": str(path)})
        return
    _show(found, loaded)
    say(f"the best values are in {path}")
    next_step(f"acclimate train {word(path)}", "train with them, and evaluate on the held-out tasks")


def _show(found: list[Trial], recipe: Recipe) -> None:
    names = list(found[0].figures)
    own = (recipe.learner.inner_lr, recipe.learner.inner_steps)
    rows = [
        (
            f"{trial.inner_lr:.4g}",
            trial.inner_steps,
            *(f"{trial.figures[name]:.4f}" for name in names),
            trial.step,
            "the recipe's own" if (trial.inner_lr, trial.inner_steps) == own else "",
        )
        for trial in found[:_SHOWN]
    ]
    columns = ("inner_lr", "inner_steps", *names, "outer steps", "")
    print_table(f"Best of {len(found)} trials, on validation tasks after adaptation", columns, rows)


def _directory(name: str, resume: bool) -> Path:
    """The search's own folder: a new one, or the newest."""
    from acclimate.home import home

    searches = home() / "tune" / name
    if not resume:
        searches.mkdir(parents=True, exist_ok=True)
        return searches / datetime.now().strftime("%Y-%m-%dT%H-%M-%S.%f")
    found = sorted(searches.glob("*/tuner.pkl"))
    if not found:
        raise TrainingError(f"no search of {name!r} is under {searches}: start one without --resume")
    return found[-1].parent
