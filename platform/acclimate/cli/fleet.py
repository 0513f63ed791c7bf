"""`acclimate fleet`: fleets, what their devices run, and the tokens that let devices in."""

from __future__ import annotations

import time
from typing import Any

import click

from acclimate.cli.moments import moment, token_state
from acclimate.cli.options import json_option
from acclimate.cli.output import next_step, print_fields, print_json, print_table, say_done
from acclimate.client import connect


@click.group()
def fleet() -> None:
    """Fleets of devices that share one initialization."""


@fleet.command("create")
@click.argument("name")
@click.option(
    "--poll-interval", type=click.FloatRange(1, 86_400), help="Seconds between two polls of a device."
)
@click.option("--device-quota", type=click.IntRange(0), help="How many devices may enrol.")
@json_option
def create(name: str, poll_interval: float | None, device_quota: int | None, as_json: bool) -> None:
    """Create a fleet."""
    given = {"name": name, "poll_interval_s": poll_interval, "device_quota": device_quota}
    made = connect().post("/fleets", {key: value for key, value in given.items() if value is not None})
    _show(made, as_json)
    if not as_json:
        next_step(f"acclimate fleet baseline {name} NAME@VERSION", "give its devices what they run at first")


@fleet.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List fleets."""
    fleets = connect().get("/fleets")
    if as_json:
        print_json(fleets)
        return
    rows = [(one["name"], one["devices"], _runs(one), one["live_rollout"]) for one in fleets]
    print_table("Fleets", ["name", "devices", "runs", "live rollout"], rows)
    if not fleets:
        next_step("acclimate fleet create NAME", "make the first one")


@fleet.command("show")
@click.argument("name")
@click.option(
    "--hours", type=click.IntRange(1, 8760), default=24, show_default=True, help="How far to look back."
)
@json_option
def show(name: str, hours: int, as_json: bool) -> None:
    """Show a fleet and what its devices reported."""
    service = connect()
    found = service.get(f"/fleets/{name}")
    counts = service.get(f"/fleets/{name}/counts", since=max(time.time() - hours * 3600, 0))
    if as_json:
        print_json({"fleet": found, "counts": counts})
        return
    _show(found, False)
    print_table(
        f"Reported in {hours} h",
        [
            "release",
            "reports",
            "loss after adaptation",
            "drifts",
            "kept start",
            "fallbacks",
            "alarms",
            "refusals",
        ],
        [_totals(release, rows) for release, rows in _by_release(counts).items()],
    )


@fleet.command("configure")
@click.argument("name")
@click.option(
    "--poll-interval", type=click.FloatRange(1, 86_400), help="Seconds between two polls of a device."
)
@click.option("--device-quota", type=click.IntRange(0), help="How many devices may enrol.")
@json_option
def configure(name: str, poll_interval: float | None, device_quota: int | None, as_json: bool) -> None:
    """Change a fleet."""
    given = {"poll_interval_s": poll_interval, "device_quota": device_quota}
    changes = {key: value for key, value in given.items() if value is not None}
    _show(connect().patch(f"/fleets/{name}", changes), as_json)


@fleet.command("baseline")
@click.argument("name")
@click.argument("release")
@click.option("--target", default="", help="Only devices that match, as in 'site == \"A\"'.")
@json_option
def baseline(name: str, release: str, target: str, as_json: bool) -> None:
    """Give devices RELEASE (NAME@VERSION or NAME@ALIAS) without a rollout: the first one of a fleet."""
    _show(connect().put(f"/fleets/{name}/baseline", {"release": release, "target": target}), as_json)
    if not as_json:
        next_step(f"acclimate fleet enrol {name}", "make a token that lets devices in")


@fleet.command("enrol")
@click.argument("name")
@click.option(
    "--devices", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="How many it lets in."
)
@click.option(
    "--days", type=click.IntRange(1, 3650), default=7, show_default=True, help="Days until it ends."
)
@json_option
def enrol(name: str, devices: int, days: int, as_json: bool) -> None:
    """Make an enrolment token and show it, this once."""
    service = connect()
    made = service.post(f"/fleets/{name}/enrolment-tokens", {"quota": devices, "lifetime_s": days * 86_400})
    if as_json:
        print_json(made | {"url": service.url})
        return
    print_fields(
        f"enrolment token for {name}",
        {"token": made["token"], "devices": devices, "ends": moment(made["expires_at"])},
    )
    next_step("acclimate-device enrol", f"on the device, with this token and {service.url}")


@fleet.command("tokens")
@click.argument("name")
@click.option("--revoke", help="End the token with this id.")
@json_option
def tokens(name: str, revoke: str | None, as_json: bool) -> None:
    """List enrolment tokens, or end one."""
    service = connect()
    if revoke:
        service.delete(f"/fleets/{name}/enrolment-tokens/{revoke}")
        say_done(f"enrolment token {revoke} is revoked", as_json, id=revoke, state="revoked")
        return
    found, now = service.get(f"/fleets/{name}/enrolment-tokens"), time.time()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["id"],
            one["used"],
            one["quota"],
            moment(one["expires_at"]),
            token_state(one, now),
        )
        for one in found
    ]
    print_table(f"Enrolment tokens of {name}", ["id", "used", "quota", "ends", "state"], rows)


@fleet.command("releases")
@click.argument("name", default="")
@json_option
def releases(name: str, as_json: bool) -> None:
    """List published bundles, which can be rolled out: of fleet NAME, or of all without their own."""
    found = connect().get("/releases", fleet=name)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["name"],
            one["version"],
            one["content_hash"],
            one["learner"],
            one["parameters"],
            one["file_bytes"],
        )
        for one in found
    ]
    print_table("Published releases", ["name", "version", "hash", "learner", "parameters", "bytes"], rows)


@fleet.command("retrain")
@click.argument("name")
@click.option("--reason", default="", help="Kept in the audit log and with the version that comes of it.")
@json_option
def retrain(name: str, reason: str, as_json: bool) -> None:
    """Have the service train a new version for a fleet now.

    It starts the command it was configured with, one training at a time, and one for a fleet within its
    cooldown. The version arrives in the registry as candidate; nothing is rolled out.
    """
    started = connect().post(f"/fleets/{name}/retrainings", {"reason": reason})
    if as_json:
        print_json(started)
        return
    print_fields(f"training for {name}", {"id": started["id"], "started": started["detail"]})
    next_step("acclimate versions", "the version is there once it is trained")


def _show(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    print_fields(
        f"fleet {one['name']}",
        {
            "devices": f"{one['devices']} of {one['device_quota']}",
            "runs": _runs(one) or "nothing yet",
            "live rollout": one["live_rollout"] or "none",
            "polls every": f"{one['poll_interval_s']:g} s",
            "made": moment(one["created_at"]),
        },
    )


def _runs(one: dict[str, Any]) -> str:
    return ", ".join(
        f"{base['release']['name']}@{base['release']['version']}"
        + (f" where {base['target']}" if base["target"] else "")
        for base in one["baselines"]
    )


def _by_release(counts: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in counts:
        found.setdefault(f"{row['release']['name']}@{row['release']['version']}", []).append(row)
    return found


def _totals(release: str, rows: list[dict[str, Any]]) -> tuple[object, ...]:
    def total(name: str) -> float:
        return float(sum(row[name] for row in rows))

    examples = total("adapted_examples")
    loss = f"{total('adapted_loss_sum') / examples:.4g}" if examples else None
    counted = [int(total(name)) for name in ("drifts", "kept_starts", "fallbacks", "alarms", "refusals")]
    return (release, int(total("reports")), loss, *counted)
