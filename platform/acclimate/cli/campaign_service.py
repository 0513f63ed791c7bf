"""Campaigns of a service's fleets, under `acclimate campaign`."""

from __future__ import annotations

import base64
import math
from typing import Any

import click

from acclimate.cli.moments import moment
from acclimate.cli.options import json_option, tracking_option
from acclimate.cli.output import next_step, print_fields, print_json, print_table, say, say_done
from acclimate.client import connect
from acclimate.references import split_reference

_OPERATIONS = {
    "pause": "Ask no further device; what devices have under way is still taken.",
    "resume": "Ask devices again.",
    "stop": "End a campaign without a version; its devices spent nothing.",
}


@click.command()
@click.argument("fleet")
@click.argument("release", metavar="NAME@VERSION")
@click.option(
    "--minutes",
    type=click.FloatRange(0, 43_200, min_open=True),
    default=1440.0,
    show_default=True,
    help="Until the round closes.",
)
@click.option(
    "--quorum",
    type=click.IntRange(3),
    default=10,
    show_default=True,
    help="Devices without which it is void.",
)
@click.option(
    "--aggregator",
    type=click.Choice(["mean", "clipped-mean", "trimmed-mean", "geometric-median", "multi-krum"]),
    help="How devices become one [default: clipped-mean; mean with --secure or --noise].",
)
@click.option(
    "--secure",
    is_flag=True,
    help="Devices mask what they give: the service learns the sum alone, and cannot tell a liar.",
)
@click.option(
    "--clip",
    type=click.FloatRange(0.001, 60),
    default=2.0,
    show_default=True,
    help="Longest vector a device sends.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="On the sum, in units of --clip; with --secure the devices add it.",
)
@click.option(
    "--delta",
    type=click.FloatRange(0, 0.1, min_open=True),
    default=1e-5,
    show_default=True,
    help="Chance that epsilon does not hold.",
)
@click.option(
    "--epsilon",
    type=click.FloatRange(0, min_open=True),
    help="Most that a device may spend; the service refuses more.",
)
@tracking_option
@json_option
def start(fleet: str, release: str, tracking_uri: str | None, as_json: bool, **asked: Any) -> None:
    """Ask the devices of FLEET that run a version for what they know of it.

    Of a version with heads in closed form they give moments of their examples, once and for all; of one that
    adapts by steps, how far their steps go: one of many rounds, each of which makes a version. Only devices
    whose owners agreed (`contribute = true` in their configuration) hear of it.
    """
    from acclimate.registry import Registry
    from acclimate.workflow.campaigns import asked_of

    name, ref = split_reference(release)
    initialization, version = Registry.open(tracking_uri).fetch(name, ref or "candidate")
    asked["aggregator"] = asked["aggregator"] or (
        "mean" if asked["secure"] or asked["noise"] else "clipped-mean"
    )
    body = {"release": f"{version.name}@{version.version}", **asked_of(initialization), **asked}
    made = connect().post(f"/fleets/{fleet}/campaigns", body)
    if as_json:
        print_json(made)
        return
    _show(made)
    next_step(f"acclimate campaign status {made['campaign']['id']}", "see who takes part")


@click.command()
@click.argument("campaign", required=False)
@click.option("--fleet", help="Only of this fleet.")
@json_option
def status(campaign: str | None, fleet: str | None, as_json: bool) -> None:
    """List campaigns, or show one: who contributed, how long, what was spent."""
    if campaign is None:
        found = connect().get("/campaigns", fleet=fleet)
        if as_json:
            print_json(found)
            return
        rows = [_row(one) for one in found]
        print_table("Campaigns", ["campaign", "fleet", "release", "state", "devices", "closes"], rows)
        return
    one = connect().get(f"/campaigns/{campaign}")
    if as_json:
        print_json(one)
        return
    _show(one)
    if one["campaign"]["state"] == "done":
        next_step(f"acclimate campaign register {campaign}", "make a version of it")


@click.command()
@click.argument("campaign")
@json_option
def why(campaign: str, as_json: bool) -> None:
    """Say how a campaign came to where it is, and whose contributions were refused."""
    service = connect()
    one, devices = service.get(f"/campaigns/{campaign}"), service.get(f"/campaigns/{campaign}/contributors")
    if as_json:
        print_json({**one, "contributors": devices})
        return
    told = one["campaign"]
    say(f"{told['state']}: {told['detail'] or 'devices are asked until it closes'}", "bold")
    rows = [
        (given["device"], given["refusals"], given["reason"], "yes" if each["flagged"] else "")
        for each in devices
        if (given := each["contributor"])["refusals"]
    ]
    spent = [each["spent"] for each in devices if each["contributor"]["accepted_at"] is not None]
    if spent:
        most = "no bound" if None in spent else f"{max(spent):.3g}"
        say(f"epsilon of a device over all campaigns, at most: {most}")
    if rows:
        print_table("Refused", ["device", "times", "last reason", "flagged"], rows)


@click.command()
@click.argument("campaign")
@click.option(
    "--tau",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Examples that the fleet counts like.",
)
@click.option(
    "--ridge",
    type=click.FloatRange(0, min_open=True),
    default=0.003,
    show_default=True,
    help="Ridge of every device's head.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="How much of the devices' mean way the start goes, where they gave gradients.",
)
@tracking_option
@json_option
def register(
    campaign: str, tau: float, ridge: float, rate: float, tracking_uri: str | None, as_json: bool
) -> None:
    """Make a candidate version of what came of a campaign, with its lineage.

    Export, sign and roll it out like any other: the gates judge it by what devices achieve. What --tau and
    --ridge suit the fleet, `acclimate campaign plan` and `simulate` show on recordings.
    """
    from acclimate.workflow.campaigns import register_campaign

    given = connect().get(f"/campaigns/{campaign}/result")
    told = given["campaign"]
    version = register_campaign(told, base64.b64decode(given["values"]), tau, ridge, rate, tracking_uri)
    say_done(f"registered {version.name} version {version.version}", as_json, version=version.version)
    if not as_json:
        next_step(
            f"acclimate export {version.name}@{version.version} -o bundle", "make it what devices receive"
        )


def _operation(name: str) -> click.Command:
    @click.command(name, help=_OPERATIONS[name])
    @click.argument("campaign")
    @click.option("--reason", default="", help="For the audit log.")
    @json_option
    def operate(campaign: str, reason: str, as_json: bool) -> None:
        changed = connect().post(f"/campaigns/{campaign}/{name}", {"reason": reason})
        if as_json:
            print_json(changed)
            return
        _show(changed)

    return operate


SERVICE_COMMANDS: tuple[click.Command, ...] = (start, status, why, register, *map(_operation, _OPERATIONS))


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    told = one["campaign"]
    release = f"{told['name']}@{told['version']}"
    return told["id"], told["fleet"], release, told["state"], told["accepted"], moment(told["closes_at"])


def _show(one: dict[str, Any]) -> None:
    told = one["campaign"]
    visible = told["accepted"] and not told["secure"]
    share = told["clipped"] / told["accepted"] if visible else math.nan
    bound = "no bound: there is no noise" if one["epsilon"] is None else f"{one['epsilon']:.3g}"
    spent = "no bound" if one["spent"] is None else f"{one['spent']:.3g}"
    print_fields(
        told["id"],
        {
            "fleet": told["fleet"],
            "release": f"{told['name']}@{told['version']}",
            "state": f"{told['state']} {told['detail']}".strip(),
            "closes": moment(told["closes_at"]),
            "devices": f"{told['accepted']}, {told['quorum']} are needed",
            **({"joined": told["joined"]} if told["secure"] else {}),
            "aggregator": told["aggregator"],
            "each device's part": "hidden: the service learns their sum" if told["secure"] else "seen",
            "clipped": "-" if math.isnan(share) else f"{100 * share:.0f} %",
            "length, median and 90th percentile": f"{told['norm_median']:.3g}, {told['norm_p90']:.3g}"
            if visible
            else "-",
            "accuracy after adaptation": f"{told['right_after'] / told['tried_after']:.3f} of "
            f"{told['tried_after']} examples that devices held back"
            if told["tried_after"]
            else "-",
            "bytes a device": 4 * one["numbers"],
            "epsilon of a device": f"{bound}, spent {spent}",
            "delta": told["delta"],
        },
    )
