"""Rollouts: plan, operate, look, and ask why."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from acclimate.rollout import operations
from acclimate.rollout.api.operator.caller import AsOperator, AsViewer
from acclimate.rollout.api.operator.caller import see as see_fleet
from acclimate.rollout.api.operator.context import AtDesk, Desk, Limit, unprocessable
from acclimate.rollout.api.operator.operators import Operator
from acclimate.rollout.api.operator.schemas import FleetPath, Identifier, RolloutAnswer, RolloutSummary
from acclimate.rollout.bodies import OperationBody, PlanBody
from acclimate.rollout.domain.evidence import Decision, Observation
from acclimate.rollout.domain.fleet import FLEET_NAME
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.rollout.store import NotFoundError

router = APIRouter(tags=["rollouts"])
OperationName = Literal["start", "promote", "pause", "resume", "rollback", "abort"]


@router.get("/rollouts")
def list_rollouts(
    desk: AtDesk,
    operator: AsViewer,
    fleet: Annotated[str | None, Query(pattern=FLEET_NAME)] = None,
    state: Annotated[list[State] | None, Query()] = None,
    limit: Limit = 100,
) -> list[RolloutSummary]:
    """Rollouts, newest first."""
    if fleet is not None:
        see_fleet(operator, fleet)
        desk.store.fleet(fleet)
    found = desk.store.rollouts(fleet or operator.fleet, tuple(state or ()))
    return [RolloutSummary(rollout=one, operations=_names(one)) for one in found[:limit]]


@router.post("/fleets/{fleet}/rollouts", status_code=201)
def plan_rollout(desk: AtDesk, operator: AsOperator, fleet: FleetPath, body: PlanBody) -> RolloutAnswer:
    """Plan a rollout: pin one published release and keep the draft. Nothing happens until it is started."""
    see_fleet(operator, fleet)
    desk.store.fleet(fleet)
    plan = body.plan(fleet, desk.release(body.release, operator, fleet))
    with unprocessable("invalid-plan"):
        drafted = operations.draft(
            desk.store, plan, operator.name, time.time(), despite_harm=body.despite_harm
        )
        return _answer(desk, drafted)


@router.get("/rollouts/{rollout}")
def show_rollout(desk: AtDesk, operator: AsViewer, rollout: Identifier) -> RolloutAnswer:
    """One rollout and how far it is."""
    return _answer(desk, seen(desk, operator, rollout))


@router.post("/rollouts/{rollout}/{operation}")
def operate(
    desk: AtDesk, operator: AsOperator, rollout: Identifier, operation: OperationName, body: OperationBody
) -> RolloutAnswer:
    """Start, promote, pause, resume, roll back or abort; 409 where the rollout's state does not allow it."""
    seen(desk, operator, rollout)
    changed = operations.operate(desk.store, rollout, operation, operator.name, body.reason, time.time())
    return _answer(desk, changed)


@router.get("/rollouts/{rollout}/decisions")
def decisions(desk: AtDesk, operator: AsViewer, rollout: Identifier, limit: Limit = 100) -> list[Decision]:
    """Every decision with the evidence it rests on, newest first: the answer to "why". Bounds that are not
    known yet are null."""
    seen(desk, operator, rollout)
    return desk.store.decisions(rollout, limit)


@router.get("/rollouts/{rollout}/observations")
def observations(desk: AtDesk, operator: AsViewer, rollout: Identifier) -> list[Observation]:
    """What each device that took part has shown: settled ones in order, then those still watched."""
    seen(desk, operator, rollout)
    return desk.store.observations(rollout)


def seen(desk: Desk, operator: Operator, rollout_id: str) -> Rollout:
    """The rollout, if the operator may know of it.

    Raises:
        NotFoundError: it is not there, or another tenant's.
    """
    rollout = desk.store.rollout(rollout_id)
    if not operator.sees(rollout.plan.fleet):
        raise NotFoundError(f"no rollout {rollout_id!r}")
    return rollout


def _answer(desk: Desk, rollout: Rollout) -> RolloutAnswer:
    return RolloutAnswer.of(rollout, _names(rollout), desk.store.observations(rollout.id))


def _names(rollout: Rollout) -> list[str]:
    return [operation.name for operation in operations.possible(rollout)]
