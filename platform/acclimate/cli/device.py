"""`acclimate device`: the devices of a fleet, seen from the service."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import click

from acclimate.cli.moments import ago, moment
from acclimate.cli.options import json_option
from acclimate.cli.output import next_step, print_fields, print_json, print_table, say, say_done
from acclimate.client import connect
from acclimate.errors import RolloutError

# `007`, `12e5` and `nan` are names, not numbers
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")


@click.group()
def device() -> None:
    """Devices: what they run, what they should run, what they reported."""


@device.command("list")
@click.argument("fleet")
@click.option("--contains", default="", help="Only ids that contain this.")
@click.option("--after", default="", help="Continue after this id.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@click.option("--retired", is_flag=True, help="Retired devices too.")
@json_option
def list_(fleet: str, contains: str, after: str, limit: int, retired: bool, as_json: bool) -> None:
    """List a fleet's devices by id."""
    found = connect().get(
        f"/fleets/{fleet}/devices", contains=contains, after=after, limit=limit, retired=retired or None
    )
    if as_json:
        print_json(found)
        return
    now = time.time()
    rows = [
        (
            one["id"],
            one["hardware_id"],
            _release(one["running"]),
            _should(one),
            _arm(one),
            ago(one["reported_at"], now),
        )
        for one in found
    ]
    print_table(f"Devices of {fleet}", ["id", "hardware", "runs", "should", "arm", "last report"], rows)
    if len(found) == limit:
        more = f"acclimate device list {fleet} --after {found[-1]['id']}"
        next_step(more, "the next page", repeat=("contains", "limit", "retired"))
    if not found and not contains:
        next_step(f"acclimate fleet enrol {fleet}", "make a token that lets devices in")


@device.command("show")
@click.argument("fleet")
@click.argument("device_id")
@click.option(
    "--reports", type=click.IntRange(0, 500), default=10, show_default=True, help="Latest reports to show."
)
@json_option
def show(fleet: str, device_id: str, reports: int, as_json: bool) -> None:
    """Show one device and its latest reports."""
    service = connect()
    one = service.get(f"/fleets/{fleet}/devices/{device_id}")
    latest = service.get(f"/fleets/{fleet}/devices/{device_id}/reports", limit=reports) if reports else []
    if as_json:
        print_json({"device": one, "reports": latest})
        return
    now = time.time()
    print_fields(
        f"device {one['id']}",
        {
            "hardware": one["hardware_id"] or "-",
            "runs": _release(one["running"]) or "unknown, it has not reported yet",
            "should": _should(one),
            "identity": f"held, {one['doubled']}" if one["doubled_at"] else "one machine",
            "rollout": f"{one['assignment']['rollout']}, {_arm(one)}" if _arm(one) else "none",
            "last report": ago(one["reported_at"], now),
            "attributes": ", ".join(f"{name}={value}" for name, value in one["attributes"].items()) or "none",
            "sdk": one["sdk"] or "-",
            "enrolled": moment(one["enrolled_at"]),
        },
    )
    rows = [
        (
            ago(row["received_at"], now),
            row["version"],
            row["predictions"],
            row["examples"],
            f"{row['loss_sum'] / row['examples']:.4g}" if row["examples"] else None,
            row["drifts"],
            row["alarms"],
            row["fallbacks"],
        )
        for row in latest
    ]
    if rows:
        names = "received, version, predictions, labelled, mean loss, drifts, alarms, fallbacks"
        print_table("Latest reports", names.split(", "), rows)
    if one["doubled_at"]:
        next_step(f"acclimate device resolve {fleet} {device_id}", "once one machine has this identity")


@device.command("attributes")
@click.argument("fleet")
@click.argument("device_id")
@click.argument("pairs", nargs=-1, metavar="NAME=VALUE...")
@json_option
def attributes(fleet: str, device_id: str, pairs: tuple[str, ...], as_json: bool) -> None:
    """Replace the attributes by which rollouts target a device."""
    changed = connect().put(f"/fleets/{fleet}/devices/{device_id}/attributes", dict(map(_pair, pairs)))
    if as_json:
        print_json(changed)
        return
    say(f"{len(changed['attributes'])} attributes set on {device_id}")


@device.command("resolve")
@click.argument("fleet")
@click.argument("device_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def resolve(fleet: str, device_id: str, yes: bool, as_json: bool) -> None:
    """End the hold of a device whose identity two machines used.

    Before that, switch the copy off, or give it an identity of its own with a new token and
    `acclimate-device enrol --new-key`. The first machine that asks afterwards is this device.
    """
    if not yes:
        click.confirm(f"Does one machine alone use the identity {device_id} of {fleet}?", abort=True)
    connect().post(f"/fleets/{fleet}/devices/{device_id}/resolve")
    say_done(f"device {device_id} is held no more", as_json, fleet=fleet, id=device_id, state="resolved")


@device.command("retire")
@click.argument("fleet")
@click.argument("device_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def retire(fleet: str, device_id: str, yes: bool, as_json: bool) -> None:
    """Refuse a device from now on; it keeps working with what it has."""
    if not yes:
        click.confirm(f"Retire {device_id} of {fleet}?", abort=True)
    connect().post(f"/fleets/{fleet}/devices/{device_id}/retire")
    say_done(f"device {device_id} is retired", as_json, fleet=fleet, id=device_id, state="retired")


def _pair(text: str) -> tuple[str, str | int | float | bool]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RolloutError(f"{text!r} is no attribute: write NAME=VALUE, as in site=A")
    if value in ("true", "false"):
        return name, value == "true"
    if _NUMBER.fullmatch(value):
        return name, json.loads(value)
    return name, value


def _release(one: dict[str, Any] | None) -> str:
    return f"{one['name']}@{one['version']}" if one else ""


def _should(one: dict[str, Any]) -> str:
    assignment = one["assignment"]
    if assignment is None:
        return "retired"
    if one["doubled_at"]:
        return "hold, two machines use its identity"
    return f"{assignment['action']} {_release(assignment['release'])}".strip()


def _arm(one: dict[str, Any]) -> str:
    assignment = one["assignment"]
    return f"{assignment['arm']} of wave {assignment['wave']}" if assignment and assignment["arm"] else ""
