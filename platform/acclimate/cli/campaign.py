"""`acclimate campaign`: train on what devices know without their data leaving them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from acclimate.cli.campaign_service import SERVICE_COMMANDS
from acclimate.cli.options import json_option, tracking_option
from acclimate.cli.output import next_step, print_fields, print_json, print_table, say
from acclimate.cli.train import change_option
from acclimate.errors import RecipeError

if TYPE_CHECKING:
    from acclimate.training.recipe import Recipe
    from acclimate.workflow.rehearsal import Rehearsal


@click.group()
def campaign() -> None:
    """Learn together without sharing: devices send sums or updates, never examples."""


@campaign.command()
@click.argument("recipe")
@click.option(
    "--devices",
    type=click.IntRange(2),
    multiple=True,
    help="Sizes of the fleet to rehearse noise for [default: 33, 330, 3300].",
)
@click.option(
    "--epsilon",
    "epsilons",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    help="Bounds on privacy to rehearse [default: 1, 3, 8].",
)
@change_option
@json_option
def plan(
    recipe: str,
    devices: tuple[int, ...],
    epsilons: tuple[float, ...],
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what a campaign of RECIPE would send and spend, and what to expect of it, before anybody is asked.

    Rehearsed on the recipe's own recordings: its validation devices judge, after adaptation. The noise is
    that of a fleet of so many devices; the signal is what the recordings hold, so a larger fleet does a
    little better than this says.
    """
    from acclimate.workflow.rehearsal import rehearse

    wanted = _federated(recipe, changes)
    told = rehearse(wanted, devices or (33, 330, 3300), epsilons or (1.0, 3.0, 8.0))
    if as_json:
        print_json(told.as_json())
        return
    _show(wanted, told)
    next_step(
        f"acclimate campaign simulate {recipe}", "train it on the recordings as a fleet would", ["changes"]
    )


@campaign.command()
@click.argument("recipe")
@change_option
@tracking_option
@json_option
@click.pass_context
def simulate(
    ctx: click.Context, recipe: str, changes: tuple[str, ...], tracking_uri: str | None, as_json: bool
) -> None:
    """Hold a campaign on RECIPE's recordings, every training task a device, and register the version.

    The same as `acclimate train` of a recipe with a `federated` section, whose name it asks for.
    """
    from acclimate.cli.train import train

    _federated(recipe, changes)
    ctx.invoke(train, recipe=recipe, changes=changes, tracking_uri=tracking_uri, as_json=as_json)


def _federated(name: str, changes: tuple[str, ...]) -> Recipe:
    from acclimate.training.recipe_file import load_recipe

    recipe = load_recipe(name, changes)
    if recipe.federated is None:
        raise RecipeError(
            f"recipe {recipe.name} has no `federated` section: add `federated: {{}}`, or start from "
            "`acclimate recipes wisdm-federated`"
        )
    return recipe


def _show(recipe: Recipe, told: Rehearsal) -> None:
    print_fields(
        f"Campaign of {recipe.name}",
        {
            "devices send": told.sends,
            "rounds": told.rounds,
            "rounds of one device": told.rounds_of_a_device,
            "bytes a device and round": told.bytes_a_round,
            **({"and of masks": told.bytes_of_masks} if told.bytes_of_masks else {}),
            "epsilon as the recipe is": "no bound: there is no noise"
            if math.isinf(told.epsilon)
            else told.epsilon,
            "delta": told.delta,
            f"{told.metric} without noise": f"{told.without_noise:.4g}",
            f"{told.metric} of a device alone": f"{told.alone:.4g}",
        },
    )
    if told.rows:
        columns = ("devices", "epsilon", "noise", told.metric)
        rows = [(row.devices, row.epsilon, f"{row.noise:.3g}", f"{row.expected:.4g}") for row in told.rows]
        print_table(
            "With user-level differential privacy, after adaptation on validation devices", columns, rows
        )
    say(told.advice, "bold")


for _command in SERVICE_COMMANDS:
    campaign.add_command(_command)
