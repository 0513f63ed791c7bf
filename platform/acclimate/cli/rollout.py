"""`acclimate rollout`: plan one, start it, watch it, steer it, and ask why it did what it did."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from acclimate.cli.moments import ago
from acclimate.cli.options import LocalPath, json_option
from acclimate.cli.output import next_step, out, print_json, print_table, say
from acclimate.cli.rollout_view import decision_view, rollout_view, watch
from acclimate.client import ServiceClient, connect
from acclimate.documents import mapping_in
from acclimate.errors import RolloutError
from acclimate.rollout.wave_text import EXAMPLE, parse_waves


@click.group()
def rollout() -> None:
    """Rollouts: one exact version to a fleet, in waves, gated on what devices achieve."""


@rollout.command("plan")
@click.argument("fleet")
@click.argument("release")
@click.option(
    "--waves",
    help=f"Shares or numbers of devices and how long each is watched, as in '{EXAMPLE}' "
    "[default: as many as the fleet has devices for].",
)
@click.option(
    "--min-devices", type=click.IntRange(1), help="With --waves: outcomes that each needs [default: 20]."
)
@click.option("--target", help="Only devices that match, as in 'site == \"A\"'.")
@click.option("--control", type=click.FloatRange(0, 50), help="Percent of devices in control [default: 10].")
@click.option(
    "--soak", type=click.FloatRange(0), help="Seconds a device is watched before its outcome is fixed."
)
@click.option(
    "--silence", type=click.FloatRange(0), help="Seconds after which a silent device counts as such."
)
@click.option(
    "--alpha", type=click.FloatRange(0.001, 0.5), help="Chance of a false roll back [default: 0.05]."
)
@click.option(
    "--file",
    "path",
    type=LocalPath(exists=True, dir_okay=False),
    help="YAML with any part of the plan (waves, gates, ...).",
)
@click.option("--despite-harm", is_flag=True, help="Even if gates rolled this version back here before.")
@click.option("--start", "start_now", is_flag=True, help="Start it at once.")
@json_option
def plan(
    fleet: str,
    release: str,
    path: Path | None,
    despite_harm: bool,
    start_now: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Plan a rollout of RELEASE (NAME@VERSION or NAME@ALIAS) to FLEET.

    Version number and content hash are pinned now; an alias that moves later changes nothing.
    """
    service = connect()
    body = (mapping_in(path, RolloutError) if path else {}) | _plan_options(**options) | {"release": release}
    body |= {"despite_harm": True} if despite_harm else {}
    made = service.post(f"/fleets/{fleet}/rollouts", body)
    if start_now:
        made = service.post(f"/rollouts/{made['rollout']['id']}/start")
    if as_json:
        print_json(made)
        return
    out.print(rollout_view(made, []))
    identity = made["rollout"]["id"]
    if start_now:
        next_step(f"acclimate rollout status {identity} --watch", "see it go")
    else:
        next_step(f"acclimate rollout start {identity}", "the first wave opens")


@rollout.command("list")
@click.option("--fleet", help="Only this fleet's.")
@json_option
def list_(fleet: str | None, as_json: bool) -> None:
    """List rollouts, newest first."""
    found = connect().get("/rollouts", fleet=fleet)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["rollout"]["id"],
            one["rollout"]["plan"]["fleet"],
            f"{one['rollout']['plan']['release']['name']}@{one['rollout']['plan']['release']['version']}",
            one["rollout"]["state"].replace("_", " "),
            f"{len(one['rollout']['opened'])} of {len(one['rollout']['plan']['waves'])}",
            ago(one["rollout"]["changed_at"] or one["rollout"]["created_at"], time.time()),
        )
        for one in found
    ]
    print_table("Rollouts", ["id", "fleet", "release", "state", "wave", "changed"], rows)


@rollout.command("status")
@click.argument("rollout_id")
@click.option("--watch", "watching", is_flag=True, help="Stay and show changes until the rollout ends.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 60),
    default=2.0,
    show_default=True,
    help="Seconds between looks.",
)
@json_option
def status(rollout_id: str, watching: bool, interval: float, as_json: bool) -> None:
    """Show how far a rollout is and what its gates say."""
    service = connect()
    if watching:
        watch(service, rollout_id, interval, as_json)
        return
    found = service.get(f"/rollouts/{rollout_id}")
    decisions = service.get(f"/rollouts/{rollout_id}/decisions", limit=20)
    if as_json:
        print_json(found | {"decisions": decisions})
        return
    out.print(rollout_view(found, decisions))
    for name in found["operations"][:1]:
        next_step(f"acclimate rollout {name} {rollout_id}", "possible now")


@rollout.command("why")
@click.argument("rollout_id")
@click.option("--limit", type=click.IntRange(1, 1000), default=5, show_default=True, help="Latest decisions.")
@json_option
def why(rollout_id: str, limit: int, as_json: bool) -> None:
    """Explain the latest decisions by the evidence each rests on."""
    decisions = connect().get(f"/rollouts/{rollout_id}/decisions", limit=limit)
    if as_json:
        print_json(decisions)
        return
    if not decisions:
        say("nothing was decided yet")
    for decision in decisions:
        out.print(decision_view(decision))


def _operation(name: str, summary: str, risky: bool) -> click.Command:
    @rollout.command(name, help=summary)
    @click.argument("rollout_id")
    @click.option("--reason", default="", help="Kept with the decision and in the audit log.")
    @click.option("--yes", is_flag=True, help="Do not ask.", hidden=not risky)
    @json_option
    def operate(rollout_id: str, reason: str, yes: bool, as_json: bool) -> None:
        service = connect()
        if risky and not yes:
            click.confirm(f"{summary} Go on?", abort=True)
        changed = service.post(f"/rollouts/{rollout_id}/{name}", {"reason": reason})
        if as_json:
            print_json(changed)
            return
        _after(service, changed)

    return operate


def _after(service: ServiceClient, changed: dict[str, Any]) -> None:
    identity, state = changed["rollout"]["id"], changed["rollout"]["state"].replace("_", " ")
    say(f"rollout {identity} is {state}")
    next_step(f"acclimate rollout status {identity} --watch", "see it go")


_operation("start", "Open the first wave.", False)
_operation("pause", "Stop widening; devices that have the release keep it.", False)
_operation("resume", "Go on; both arms start afresh at this moment.", False)
_operation("promote", "Open the next wave now, whatever the gates say.", True)
_operation("rollback", "Return every device to what it ran before.", True)
_operation("abort", "Drop a draft that was never started.", False)


def _plan_options(
    waves: str | None,
    min_devices: int | None,
    target: str | None,
    control: float | None,
    soak: float | None,
    silence: float | None,
    alpha: float | None,
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "target": target,
        "control_share": None if control is None else control / 100,
        "soak_s": soak,
        "silence_s": silence,
        "alpha": alpha,
    }
    if waves is not None:
        read = parse_waves(waves, min_devices or 20)
        names = ("share", "count", "duration_s", "min_devices", "approval")
        given["waves"] = [{name: getattr(wave, name) for name in names} for wave in read]
    elif min_devices is not None:
        raise RolloutError("--min-devices goes with --waves: give both, or write min_devices in --file")
    return {name: value for name, value in given.items() if value is not None}
