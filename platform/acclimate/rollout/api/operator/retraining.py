"""Asking for a new version: Alertmanager's webhook, and a person's word."""

from __future__ import annotations

import logging
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from acclimate.errors import RolloutError
from acclimate.rollout.api.operator.caller import AsOperator, see
from acclimate.rollout.api.operator.context import AtDesk, Desk
from acclimate.rollout.api.operator.schemas import FleetPath
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.bodies import Line, Strict
from acclimate.rollout.domain.fleet import FLEET_NAME
from acclimate.rollout.domain.retraining import Cause
from acclimate.rollout.retraining import Answer, Retrainer

router = APIRouter(tags=["retraining"])

log = logging.getLogger(__name__)
_LONGEST = 200  # of a label as it is told on


class RetrainingBody(Strict):
    """A person's wish for a new version."""

    reason: Line = ""


class RetrainingAnswer(BaseModel):
    """What became of one wish."""

    fleet: str
    started: bool
    detail: str
    id: str = ""


class Alert(BaseModel):
    """The part of an alert that is used; Alertmanager sends more, and may send more one day.

    Labels that are not used may be anything: one alert's oddity must not lose the others of its notification.
    """

    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: dict[str, Any]


class Notification(BaseModel):
    """Alertmanager's webhook body, version 4."""

    model_config = ConfigDict(extra="ignore")

    version: Literal["4"]
    alerts: Annotated[list[Alert], Field(max_length=1000)]


@router.post("/fleets/{fleet}/retrainings", status_code=202)
def retrain(desk: AtDesk, operator: AsOperator, fleet: FleetPath, body: RetrainingBody) -> RetrainingAnswer:
    """Train a new version for a fleet now. Refused while one trains, or if one was trained for it lately."""
    see(operator, fleet)
    retrainer = _retrainer(desk)
    answer = retrainer.request(fleet, "operator", body.reason or "asked for", operator.name)
    if not answer.started:
        raise ProblemError(409, "retraining-refused", answer.detail)
    return RetrainingAnswer(fleet=fleet, started=True, detail=answer.detail, id=answer.id)


@router.post("/alertmanager")
def alertmanager(
    request: Request, desk: AtDesk, operator: AsOperator, body: Notification
) -> list[RetrainingAnswer]:
    """Alertmanager's webhook: each fleet named by a firing alert's label `fleet` is trained for.

    Route only the alerts here that call for a training, such as AcclimateFleetDrifts. A wish that is refused
    is no error: Alertmanager repeats itself. The answer, the log and the metric `acclimate_alerts` say what
    came of each.
    """
    retrainer = _retrainer(desk)
    wanted: dict[str, str] = {}
    for alert in body.alerts:
        if alert.status == "firing" and "fleet" in alert.labels:
            wanted.setdefault(_told(alert.labels["fleet"]), _told(alert.labels.get("alertname", "an alert")))
    answers = [
        _ask(retrainer, operator.name, fleet, name, operator.sees(fleet)) for fleet, name in wanted.items()
    ]
    for answer in answers:
        log.info("alert", extra=answer.model_dump())
        request.app.state.metrics.alerts.labels("started" if answer.started else "refused").inc()
    return answers


def _ask(retrainer: Retrainer, actor: str, fleet: str, alert: str, allowed: bool) -> RetrainingAnswer:
    cause: Cause = "alertmanager"
    try:
        if not allowed or not re.fullmatch(FLEET_NAME, fleet):
            raise RolloutError(f"no fleet {fleet!r}")
        answer = retrainer.request(fleet, cause, alert, actor)
    except RolloutError as error:
        answer = Answer(False, str(error))
    return RetrainingAnswer(fleet=fleet, started=answer.started, detail=answer.detail, id=answer.id)


def _told(label: Any) -> str:
    """Short and printable, as it becomes a word of a command and a line of the audit log."""
    return "".join(one if one.isprintable() else " " for one in str(label)[:_LONGEST])


def _retrainer(desk: Desk) -> Retrainer:
    if desk.retrainer is None:
        raise ProblemError(
            409, "retraining-not-configured", "the service does not train: set ACCLIMATE_RETRAIN_COMMAND"
        )
    return desk.retrainer
