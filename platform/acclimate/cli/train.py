"""`acclimate train`, `acclimate evaluate` and `acclimate recipes`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from acclimate.cli.advice import advice_on, say_advice
from acclimate.cli.options import LocalPath, json_option, tracking_option
from acclimate.cli.output import next_step, note, print_fields, print_json, print_table, say
from acclimate.errors import RecipeError
from acclimate.nearest import did_you_mean
from acclimate.references import split_reference

if TYPE_CHECKING:
    from acclimate.evaluation import Evaluation, Verdict
    from acclimate.training.recipe import Recipe
    from acclimate.workflow import Outcome

tag_option = click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Note on the version, for its lineage."
)
change_option = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key, e.g. training.steps=200."
)


@click.command()
@click.argument("recipe")
@click.option("--resume", is_flag=True, help="Go on with the newest unfinished run of this recipe.")
@click.option("--workers", type=click.IntRange(0), help="Ray workers; 0 trains in this process.")
@click.option(
    "--address",
    metavar="CLUSTER",
    help="Run the workers on this Ray cluster: auto, host:6379 or ray://host:10001.",
)
@tag_option
@click.option(
    "--candidate",
    is_flag=True,
    help="Make it the candidate even where the verdict is that a simple rival is better.",
)
@click.option(
    "--if-new", metavar="REF", help="Only if the recipe or the recordings differ from version REF's."
)
@change_option
@tracking_option
@json_option
def train(
    recipe: str,
    resume: bool,
    workers: int | None,
    address: str | None,
    tags: tuple[str, ...],
    candidate: bool,
    if_new: str | None,
    changes: tuple[str, ...],
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Meta-train RECIPE (a YAML file or a shipped name), evaluate it on held-out tasks and register it.

    Ctrl-C writes a checkpoint; --resume goes on from there to the same bits.
    """
    from acclimate.training.recipe_file import load_recipe
    from acclimate.workflow import anything_new

    if workers is not None:
        changes = (*changes, f"training.workers={workers}")
    options = [f"--address {address}"] if address else []
    again = " ".join(["acclimate train", recipe, *options, *(f"--set {change}" for change in changes)])
    wanted = load_recipe(recipe, changes)
    lineage = read_tags(tags)
    if if_new and not anything_new(wanted, if_new, tracking_uri):
        note(f"nothing new since {wanted.name} {if_new}: the same recipe and recordings; not trained")
        if as_json:
            print_json({"version": None})
        return
    outcome = run_job(
        wanted,
        resume=resume,
        tracking_uri=tracking_uri,
        again=again,
        address=address,
        lineage=lineage,
        candidate=candidate,
    )
    advice = advice_on(
        outcome.verdict,
        wanted,
        f"{outcome.version.name}@{outcome.version.version}",
        source=recipe,
        changes=changes,
        anomalies=outcome.evaluation.metric == "average_precision",
    )
    if as_json:
        print_json(
            {
                "version": asdict(outcome.version),
                "evaluation": outcome.evaluation.as_json(),
                "verdict": outcome.verdict.as_json(),
                "next": advice and asdict(advice),
                "plot": str(outcome.plot),
                "directory": str(outcome.directory),
            }
        )
        return
    show_outcome(outcome)
    say_advice(advice)
    next_step("acclimate ui", "look at the run, its curves and the version in MLflow", ["tracking_uri"])


@click.command()
@click.argument("reference", metavar="NAME[@REF]")
@click.option("--plot", type=LocalPath(), help="Write the picture to this PNG file.")
@change_option
@tracking_option
@json_option
def evaluate(
    reference: str, plot: Path | None, changes: tuple[str, ...], tracking_uri: str | None, as_json: bool
) -> None:
    """Measure a version of NAME and its baselines again on the held-out tasks.

    REF is a number, an alias (default: candidate), `latest` or a content hash; --set evaluation.draws=20 asks
    for more draws.
    """
    from acclimate.bundle.registered import RECIPE
    from acclimate.cli.progress import job_listener
    from acclimate.evaluation import judge
    from acclimate.evaluation.plot import save_plot
    from acclimate.registry import Registry
    from acclimate.training.recipe import Recipe
    from acclimate.workflow import evaluate_version

    name, ref = split_reference(reference)
    ref = ref or "candidate"
    with job_listener(name) as progress:
        version, evaluation = evaluate_version(
            name, ref, listener=progress, changes=changes, tracking_uri=tracking_uri
        )
    if plot:
        save_plot(evaluation, f"{name} version {version.version}", plot)
    verdict, advice = judge(evaluation), None
    trained_by = Registry.open(tracking_uri).document(name, str(version.version), RECIPE)
    if trained_by is not None:
        advice = advice_on(
            verdict,
            Recipe.model_validate(yaml.safe_load(trained_by)),
            f"{name}@{version.version}",
            anomalies=evaluation.metric == "average_precision",
        )
    if as_json:
        print_json(
            {
                "version": asdict(version),
                "evaluation": evaluation.as_json(),
                "verdict": verdict.as_json(),
                "next": advice and asdict(advice),
            }
        )
        return
    show_evaluation(evaluation)
    say_advice(advice)
    if not plot:
        next_step(
            f"acclimate evaluate {name}@{ref} --plot curves.png",
            "the same as a picture",
            ["changes", "tracking_uri"],
        )


@click.command()
@click.argument("name", required=False)
@click.option("--keys", is_flag=True, help="Explain every key of a recipe instead.")
@tracking_option
@json_option
def recipes(name: str | None, keys: bool, tracking_uri: str | None, as_json: bool) -> None:
    """List the shipped recipes, print one (to start your own from), or explain every key.

    NAME@REF prints the recipe that a registered version was trained by.
    """
    from acclimate.training.recipe import Recipe
    from acclimate.training.recipe_file import load_recipe, recipe_keys, shipped_recipes

    if keys and as_json:
        print_json([dict(zip(("key", "default", "meaning"), row, strict=True)) for row in recipe_keys()])
        return
    if keys:
        print_table("Keys of a recipe", ("key", "default", "meaning"), recipe_keys())
        return
    shipped = shipped_recipes()
    if name is None:
        rows = [(each, load_recipe(each).description) for each in shipped]
        if as_json:
            print_json([{"name": each, "description": description} for each, description in rows])
            return
        print_table("Shipped recipes", ("name", "what it trains"), rows)
        next_step(f"acclimate recipes {rows[-1][0]} > my.yaml", "start a recipe of your own from one")
        return
    text = _recipe_of(name, tracking_uri) if "@" in name else shipped.get(name)
    if text is None:
        hint = did_you_mean(name, shipped, f"there are {', '.join(shipped)}")
        versions = "NAME@REF prints that of a registered version"
        raise RecipeError(f"no recipe {name!r} is shipped: {hint}; {versions}")
    if as_json:
        print_json(Recipe.model_validate(yaml.safe_load(text)).model_dump(mode="json"))
        return
    print(text, end="")


def _recipe_of(reference: str, tracking_uri: str | None) -> str:
    from acclimate.bundle.registered import RECIPE
    from acclimate.registry import Registry

    name, ref = split_reference(reference)
    text = Registry.open(tracking_uri).document(name, ref, RECIPE)
    if text is None:
        raise RecipeError(f"{reference}: its version was registered without a recipe")
    return text


def read_tags(tags: tuple[str, ...]) -> dict[str, str]:
    """`--tag` options as lineage."""
    pairs = [tag.partition("=") for tag in tags]
    for tag, (key, equals, _) in zip(tags, pairs, strict=True):
        if not key or not equals:
            raise RecipeError(f"--tag {tag!r}: write KEY=VALUE, such as trigger=drift")
    return {key: value for key, _, value in pairs}


def run_job(recipe: Recipe, again: str, **options: Any) -> Outcome:
    """Run the main job, `meta_train` with these options, with its progress drawn; a stop ends the process
    with how to go on."""
    from acclimate.cli.progress import job_listener
    from acclimate.training.stopping import stop_on_signals
    from acclimate.workflow import meta_train

    with job_listener(recipe.name) as progress, stop_on_signals() as should_stop:
        outcome = meta_train(recipe, listener=progress, should_stop=should_stop, **options)
    if outcome is None:
        note("stopped; a checkpoint is written", "yellow")
        next_step(f"{again} --resume", "go on to the same bits")
        sys.exit(should_stop.exit_code)
    return outcome


def show_outcome(outcome: Outcome) -> None:
    """Print what a job made."""
    show_evaluation(outcome.evaluation)
    version = outcome.version
    print_fields(
        f"Registered {version.name} version {version.version}",
        {
            "aliases": ", ".join(version.aliases) or _no_alias(outcome.verdict),
            "content hash": version.content_hash,
            "mlflow run": version.run_id,
            "picture": outcome.plot,
            "run directory": outcome.directory,
        },
    )


def _no_alias(verdict: Verdict) -> str:
    if verdict.loses_to is None:
        return ""
    return "none: a simple rival is better; --candidate makes it the candidate all the same"


def show_evaluation(evaluation: Evaluation) -> None:
    """Print the verdict, then what it rests on: curves as tables, and sentences for every number of shots."""
    from acclimate.evaluation import (
        ahead_sentence,
        comparison_sentence,
        headline,
        judge,
        metric_name,
        table,
        units_sentence,
        worst_sentence,
    )

    say(judge(evaluation).sentence, "bold")
    for shots in evaluation.shots:
        columns, rows = table(evaluation, shots)
        held_out = f"{len(evaluation.tasks)} held-out tasks"
        unit = " (%)" if evaluation.metric == "accuracy" else ""
        solved = any(curve.steps == (0, 1) for curve in evaluation.curves)
        steps = "gradient steps (in closed form, 1: head solved)" if solved else "gradient steps"
        print_table(
            f"{metric_name(evaluation)}{unit} after n {steps}, {shots}-shot, {held_out}", columns, rows
        )
    for shots in evaluation.shots:
        say(headline(evaluation, shots))
        for comparison in evaluation.comparisons:
            if comparison.shots == shots:
                say(f"  {comparison_sentence(evaluation, comparison)}")
        say(f"  {worst_sentence(evaluation, shots)}")
        units = units_sentence(evaluation, shots)
        if units:
            say(f"  {units}")
        ahead = ahead_sentence(evaluation, shots)
        if ahead:
            say(f"  {ahead}")
    say(f"(same budget for all; every setting was chosen on {evaluation.rates_chosen_on})")
