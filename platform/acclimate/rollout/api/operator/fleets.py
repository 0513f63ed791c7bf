"""Fleets, their baselines and what their devices reported; the releases that can be given to them."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query

from acclimate.rollout.api.operator.caller import AsOperator, AsViewer, see
from acclimate.rollout.api.operator.context import AtDesk, Desk, unprocessable
from acclimate.rollout.api.operator.schemas import FleetAnswer, FleetPath, ReleaseAnswer
from acclimate.rollout.bodies import BaselineBody, FleetBody, FleetChange
from acclimate.rollout.domain.fleet import FLEET_NAME, Fleet
from acclimate.rollout.domain.rollout import LIVE
from acclimate.rollout.store import Counts

router = APIRouter(tags=["fleets"])


@router.get("/fleets")
def list_fleets(desk: AtDesk, operator: AsViewer) -> list[FleetAnswer]:
    """Every fleet that the caller may see."""
    return [_answer(desk, fleet) for fleet in desk.store.fleets() if operator.sees(fleet.name)]


@router.post("/fleets", status_code=201)
def create_fleet(desk: AtDesk, operator: AsOperator, body: FleetBody) -> FleetAnswer:
    """Create a fleet: a tenant of its own."""
    operator.require_all_fleets()
    usual = desk.settings.poll_interval_s
    fleet = Fleet(
        body.name,
        created_at=time.time(),
        poll_interval_s=usual if body.poll_interval_s is None else body.poll_interval_s,
        device_quota=body.device_quota,
    )
    return _answer(desk, desk.store.add_fleet(fleet, operator.name))


@router.get("/fleets/{fleet}")
def show_fleet(desk: AtDesk, operator: AsViewer, fleet: FleetPath) -> FleetAnswer:
    """One fleet."""
    see(operator, fleet)
    return _answer(desk, desk.store.fleet(fleet))


@router.patch("/fleets/{fleet}")
def change_fleet(desk: AtDesk, operator: AsOperator, fleet: FleetPath, body: FleetChange) -> FleetAnswer:
    """Change how often devices poll, or how many may enrol."""
    see(operator, fleet)
    changes = body.model_dump(exclude_none=True)
    return _answer(desk, desk.store.configure_fleet(fleet, time.time(), operator.name, **changes))


@router.put("/fleets/{fleet}/baseline")
def set_baseline(desk: AtDesk, operator: AsOperator, fleet: FleetPath, body: BaselineBody) -> FleetAnswer:
    """Give matching devices a release without a rollout: for the first one of a fleet."""
    see(operator, fleet)
    desk.store.fleet(fleet)
    release = desk.release(body.release, operator, fleet)
    with unprocessable("invalid-target"):
        changed = desk.store.set_baseline(fleet, body.target, release, time.time(), operator.name)
    return _answer(desk, changed)


@router.get("/fleets/{fleet}/counts")
def fleet_counts(
    desk: AtDesk,
    operator: AsViewer,
    fleet: FleetPath,
    since: Annotated[float, Query(ge=0, le=1e11)] = 0.0,
) -> list[Counts]:
    """What devices reported since a moment (Unix seconds), by release and hour, oldest first."""
    see(operator, fleet)
    desk.store.fleet(fleet)
    return desk.store.counts(fleet, since)


@router.get("/releases", tags=["releases"])
def list_releases(
    desk: AtDesk,
    operator: AsViewer,
    fleet: Annotated[str | None, Query(pattern=FLEET_NAME)] = None,
) -> list[ReleaseAnswer]:
    """Published bundles, which can be rolled out: of `fleet`, or else of all fleets that have none of their
    own. A caller limited to one fleet sees that fleet's alone."""
    wanted = fleet or operator.fleet or ""
    if wanted:
        see(operator, wanted)
        desk.store.fleet(wanted)
    return [ReleaseAnswer.of(one) for one in desk.published(operator, wanted)]


def _answer(desk: Desk, fleet: Fleet) -> FleetAnswer:
    live = next(iter(desk.store.rollouts(fleet.name, sorted(LIVE))), None)
    return FleetAnswer.of(fleet, desk.store.count_devices(fleet.name), live)
