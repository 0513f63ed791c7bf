"""The steps from a published release to devices: the rollout and its outcome.

Where the service is comes from the environment, so that no run shows a secret: ACCLIMATE_URL and _TOKEN.
Neither torch nor MLflow is loaded here: a pod that only talks to the service starts in a moment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acclimate.client import ServiceClient, connect
from acclimate.errors import RolloutError
from acclimate.rollout.domain.rollout import ENDED
from acclimate_pipelines.step import step

LOOK_S = 2.0
log = logging.getLogger(__name__)


@step
def roll_out(fleet: str, release: str, plan: Mapping[str, Any]) -> str:
    """Start a rollout of `release`; gives its id.

    A fleet that runs nothing yet has nothing to compare with: the release becomes its baseline and the id is
    empty.
    """
    service = connect()
    if not service.get(f"/fleets/{fleet}")["baselines"]:
        service.put(f"/fleets/{fleet}/baseline", {"release": release, "target": ""})
        log.info("baseline-set", extra={"fleet": fleet, "release": release})
        return ""
    made = service.post(f"/fleets/{fleet}/rollouts", {**plan, "release": release})
    identity = str(made["rollout"]["id"])
    service.post(f"/rollouts/{identity}/start")
    log.info("rollout-started", extra={"fleet": fleet, "release": release, "rollout": identity})
    return identity


@step
def watch(rollout: str, hours: float, page: Path) -> str:
    """Follow a rollout to its end and write what was decided; gives its state.

    After `hours` it ends with the state of that moment: the service goes on by itself.

    Raises:
        RolloutError: the rollout was rolled back or aborted.
    """
    if not rollout:
        page.write_text("The release became the fleet's baseline: there was no rollout.\n", encoding="utf-8")
        return "baseline"
    service, until, told = connect(), time.monotonic() + hours * 3600, ""
    found, decisions = _look(service, rollout)
    while True:
        state = str(found["rollout"]["state"])
        reason = decisions[0]["reason"] if decisions else "nothing was decided yet"
        if state != told:
            told = state
            log.info("rollout-changed", extra={"rollout": rollout, "state": state, "detail": reason})
        if state in ENDED or time.monotonic() >= until:
            break
        time.sleep(LOOK_S)
        try:
            found, decisions = _look(service, rollout)
        except RolloutError as error:  # it was there before: a rollout outlives restarts of the service
            log.warning("waiting", extra={"rollout": rollout, "error": error})
    page.write_text(_page(found, decisions), encoding="utf-8")
    if state in ("rolled_back", "aborted"):
        raise RolloutError(f"rollout {rollout} was {state.replace('_', ' ')}: {reason}")
    return state


def _look(service: ServiceClient, rollout: str) -> tuple[Any, Any]:
    return service.get(f"/rollouts/{rollout}"), service.get(f"/rollouts/{rollout}/decisions")


def _page(found: Mapping[str, Any], decisions: Sequence[Mapping[str, Any]]) -> str:
    """A rollout as Markdown: how it ended, and every decision with its reason."""
    one = found["rollout"]
    release = one["plan"]["release"]
    lines = [
        f"# {release['name']} version {release['version']} on {one['plan']['fleet']}: "
        f"{one['state'].replace('_', ' ')}",
        "",
        f"{found['canary_devices']} canaries, {found['control_devices']} control, "
        f"{found['settled_devices']} settled",
        "",
    ]
    for decision in reversed(decisions):
        lines.append(f"- wave {decision['wave']}, {decision['action']}: {decision['reason']}")
    return "\n".join([*lines, ""])
