"""A rollout as a terminal shows it: waves, arms, gates, and the decisions with their evidence."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from acclimate.cli.moments import ago, moment
from acclimate.cli.output import out
from acclimate.client import ServiceClient
from acclimate.errors import RolloutError
from acclimate.rollout.domain.rollout import ENDED

_STYLES = {
    "running": "cyan",
    "promoting": "cyan",
    "done": "green",
    "held": "yellow",
    "paused": "yellow",
    "rolling_back": "red",
    "rolled_back": "red",
    "pass": "green",
    "inconclusive": "yellow",
    "harm": "red",
}
_BAR = 40


def watch(service: ServiceClient, rollout_id: str, interval_s: float, as_json: bool) -> None:
    """Show a rollout until it ends or the person leaves; a service that is away for a while is waited for."""
    last: Any = None
    with Live(console=out, refresh_per_second=4, transient=False) as live:
        if as_json:
            live.stop()
        while True:
            try:
                found = service.get(f"/rollouts/{rollout_id}")
                decisions = service.get(f"/rollouts/{rollout_id}/decisions", limit=20)
            except RolloutError as error:
                if last is None:
                    raise
                if not as_json:
                    live.update(Group(rollout_view(*last), Text(f"waiting: {error}", style="yellow")))
                time.sleep(interval_s)
                continue
            if as_json and (found, decisions) != last:
                print(json.dumps(found | {"decisions": decisions}), flush=True)
            last = (found, decisions)
            if not as_json:
                live.update(rollout_view(found, decisions))
            if found["rollout"]["state"] in ENDED:
                return
            time.sleep(interval_s)


def rollout_view(found: dict[str, Any], decisions: Sequence[dict[str, Any]]) -> RenderableType:
    """One rollout; its gates are those of the newest decision that has evidence."""
    rollout, plan = found["rollout"], found["rollout"]["plan"]
    state = rollout["state"]
    release = f"{plan['release']['name']} version {plan['release']['version']}"
    head = Text.assemble(
        (f"{release} on {plan['fleet']}  ", "bold"), (state.replace("_", " "), _STYLES.get(state, ""))
    )
    arms = f"{found['canary_devices']} canaries, {found['control_devices']} control, "
    lines: list[RenderableType] = [
        head,
        Text(f"  {rollout['id']}  {plan['release']['content_hash']}", style="dim"),
        _waves(rollout),
        Text(f"  {arms}{found['settled_devices']} settled"),
    ]
    if rollout["held_for"]:
        lines.append(Text(f"  waiting for a person: {rollout['held_for']}", style="yellow"))
    found_in = (one["evidence"] for one in decisions if one["evidence"])
    evidence: list[dict[str, Any]] = next(found_in, [])
    if evidence:
        lines.append(_gates(evidence))
    if decisions:
        lines.append(_line(decisions[0]))
    return Group(*lines)


def decision_view(decision: dict[str, Any]) -> RenderableType:
    """One decision and the evidence it rests on."""
    head = Text.assemble(
        (decision["action"].replace("_", " "), "bold"),
        f"  wave {decision['wave']}, {moment(decision['at'])}, by {decision['actor']}",
    )
    lines: list[RenderableType] = [head, Text(f"  {decision['reason']}")]
    if decision["evidence"]:
        lines.append(_gates(decision["evidence"]))
        lines += [Text(f"  {gate['gate']}: {gate['reason']}", style="dim") for gate in decision["evidence"]]
    if decision["facts"]:
        facts = ", ".join(f"{name} {value}" for name, value in decision["facts"].items())
        lines.append(Text(f"  {facts}", style="dim"))
    return Group(*lines, Text())


def _waves(rollout: dict[str, Any]) -> Text:
    bar, reached = Text("  "), 0
    opened = rollout["opened"]
    for index, wave in enumerate(rollout["plan"]["waves"]):
        share = opened[index]["canary"] if index < len(opened) else (wave["share"] or 0.0)
        until = max(round(share * _BAR), reached + 1)
        passed = index < len(opened) - 1 or rollout["state"] == "done"
        style = "green" if passed else "cyan" if index < len(opened) else "dim"
        bar.append("█" * (until - reached), style)
        reached = until
    bar.append("█" * max(_BAR - reached, 0), "green" if rollout["state"] == "done" else "bright_black")
    return bar.append(f"  wave {len(opened)} of {len(rollout['plan']['waves'])}")


def _gates(evidence: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("  gate", "verdict"):
        table.add_column(name)
    for name in ("canary", "control", "difference", "at least", "at most"):
        table.add_column(name, justify="right")
    for gate in evidence:
        values = [gate[name] for name in ("canary", "control", "difference", "lower", "upper")]
        shown = ["-" if value is None else f"{value:.4g}" for value in values]
        verdict = Text(gate["verdict"], style=_STYLES.get(gate["verdict"], ""))
        table.add_row(f"  {gate['gate']}", verdict, *shown)
    return table


def _line(decision: dict[str, Any]) -> Text:
    when = ago(decision["at"], time.time())
    return Text(f"  {when}: {decision['action'].replace('_', ' ')}, {decision['reason']}", style="dim")
