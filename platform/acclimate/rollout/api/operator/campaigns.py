"""Campaigns: open one, look at it, pause or stop it, and take what came of it."""

from __future__ import annotations

import base64
import math
import secrets
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, model_validator
from starlette.requests import Request

from acclimate.privacy import epsilon_of_all
from acclimate.rollout.api.operator.caller import AsOperator, AsViewer
from acclimate.rollout.api.operator.caller import see as see_fleet
from acclimate.rollout.api.operator.context import AtDesk, Desk, Limit, unprocessable
from acclimate.rollout.api.operator.operators import Operator
from acclimate.rollout.api.operator.schemas import FleetPath, Identifier
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.rounds import RoundDesk
from acclimate.rollout.bodies import OperationBody, Reference, Strict
from acclimate.rollout.domain.campaign import (
    FLAGGED_FROM,
    LEAST_QUORUM,
    Aggregator,
    Campaign,
    Contributor,
    bits_of,
    check,
    moved,
    noises_of,
)
from acclimate.rollout.domain.fleet import FLEET_NAME
from acclimate.rollout.store import NotFoundError
from acclimate_device.federated import LEAST_BATCH, LEAST_EXAMPLES
from acclimate_device.protocol import LIMITS

router = APIRouter(tags=["campaigns"])


class CampaignBody(Strict):
    """A campaign to open.

    `features` and `outputs` are of the release's last layer, the constant one counted, of which devices give
    moments; `parameters`, in their place, are how many move when a device adapts by steps, and devices give
    how far. `epsilon` is what a device may spend at most, and a campaign that would spend more is refused.
    With `secure` the sum of contributions is all that this service learns, and `aggregator` has to be `mean`.
    """

    release: Reference
    features: Annotated[int, Field(ge=2, le=1000)] | None = None
    outputs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    parameters: Annotated[int, Field(ge=1, le=LIMITS.contribution_numbers)] | None = None
    minutes: Annotated[float, Field(gt=0, le=60 * 24 * 30)] = 1440.0
    quorum: Annotated[int, Field(ge=LEAST_QUORUM, le=1_000_000)] = 10
    labels: Annotated[int, Field(ge=LEAST_EXAMPLES, le=1_000_000)] = LEAST_EXAMPLES
    aggregator: Aggregator = "clipped-mean"
    clip: Annotated[float, Field(ge=1e-3, le=60.0)] = 2.0
    noise: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    delta: Annotated[float, Field(gt=0, lt=0.1)] = 1e-5
    epsilon: Annotated[float, Field(gt=0, le=1000)] | None = None
    secure: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> CampaignBody:
        layer = (self.features, self.outputs)
        if None in layer if self.parameters is None else layer != (None, None):
            raise ValueError("give either features and outputs, or parameters")
        return self


class CampaignAnswer(BaseModel):
    """A campaign. `epsilon` is null where there is no bound; `spent` is what its devices have spent."""

    campaign: Campaign
    epsilon: float | None
    spent: float | None
    numbers: int

    @staticmethod
    def of(campaign: Campaign) -> CampaignAnswer:
        """The answer for a campaign."""
        bound = campaign.epsilon if math.isfinite(campaign.epsilon) else None
        spent = bound if campaign.state == "done" else 0.0
        return CampaignAnswer(campaign=campaign, epsilon=bound, spent=spent, numbers=campaign.numbers)


class ContributorAnswer(BaseModel):
    """A device in a campaign. A flagged one takes part in none; `spent` is its epsilon over all campaigns,
    null where one of them had no noise and so no bound."""

    contributor: Contributor
    flagged: bool
    spent: float | None


class ResultAnswer(BaseModel):
    """What came of all contributions: 64-bit floats, little-endian, in base64; see
    `acclimate_device.federated.unpacked`."""

    campaign: Campaign
    values: str


def _rounds(request: Request) -> RoundDesk:
    rounds: RoundDesk = request.app.state.rounds
    return rounds


AtRounds = Annotated[RoundDesk, Depends(_rounds)]


@router.get("/campaigns")
def list_campaigns(
    desk: AtDesk,
    operator: AsViewer,
    fleet: Annotated[str | None, Query(pattern=FLEET_NAME)] = None,
    limit: Limit = 100,
) -> list[CampaignAnswer]:
    """Campaigns, newest first."""
    if fleet is not None:
        see_fleet(operator, fleet)
        desk.store.fleet(fleet)
    return [CampaignAnswer.of(one) for one in desk.store.campaigns(fleet or operator.fleet, limit=limit)]


@router.post("/fleets/{fleet}/campaigns", status_code=201)
def open_campaign(
    desk: AtDesk, rounds: AtRounds, operator: AsOperator, fleet: FleetPath, body: CampaignBody
) -> CampaignAnswer:
    """Ask the devices of a fleet that run a release for moments or gradients, until the round closes."""
    see_fleet(operator, fleet)
    desk.store.fleet(fleet)
    release, now = desk.release(body.release, operator, fleet), rounds.clock()
    shape = {"features", "outputs", "parameters"}
    given = body.model_dump(exclude={"release", "minutes", "epsilon", "labels", *shape})
    campaign = Campaign(
        id=f"campaign-{secrets.token_hex(8)}",
        fleet=fleet,
        name=release.name,
        version=release.version,
        content_hash=release.content_hash,
        opened_at=now,
        closes_at=now + 60 * body.minutes,
        created_by=operator.name,
        holder=rounds.holder,
        held_at=now,
        bits=bits_of(body.clip, body.noise, body.secure),
        labels=max(body.labels, LEAST_BATCH) if body.parameters else body.labels,
        features=body.features or 0,
        outputs=body.outputs or 0,
        parameters=body.parameters or 0,
        **given,
    )
    with unprocessable("invalid-campaign"):
        check(campaign, body.epsilon, rounds.cap)
    desk.store.add_campaign(campaign, operator.name)
    return CampaignAnswer.of(campaign)


@router.get("/campaigns/{campaign}")
def show_campaign(desk: AtDesk, operator: AsViewer, campaign: Identifier) -> CampaignAnswer:
    """One campaign and how far it is."""
    return CampaignAnswer.of(_seen(desk, operator, campaign))


@router.get("/campaigns/{campaign}/contributors")
def contributors(desk: AtDesk, operator: AsViewer, campaign: Identifier) -> list[ContributorAnswer]:
    """Which devices took part, whose contributions were refused and why."""
    found = _seen(desk, operator, campaign)
    everything = desk.store.contributors(found.fleet)
    refusals: dict[str, int] = {}
    for one in everything:
        refusals[one.device] = refusals.get(one.device, 0) + one.refusals
    noises = noises_of(desk.store.campaigns(found.fleet, limit=10_000), everything)
    answers = []
    for one in everything:
        if one.campaign in (found.id, ""):
            spent = epsilon_of_all(noises.get(one.device, ()), found.delta)
            answers.append(
                ContributorAnswer(
                    contributor=one,
                    flagged=refusals[one.device] >= FLAGGED_FROM,
                    spent=spent if math.isfinite(spent) else None,
                )
            )
    return answers


@router.get("/campaigns/{campaign}/result")
def result(desk: AtDesk, operator: AsOperator, campaign: Identifier) -> ResultAnswer:
    """What came of a campaign that is done, to make a version of."""
    found = _seen(desk, operator, campaign)
    values = desk.store.campaign_result(campaign)
    if values is None:
        raise ProblemError(409, "no-result", f"campaign {campaign} is {found.state}: it has no result")
    return ResultAnswer(campaign=found, values=base64.b64encode(values).decode())


@router.post("/campaigns/{campaign}/{operation}")
def operate_campaign(
    desk: AtDesk,
    rounds: AtRounds,
    operator: AsOperator,
    campaign: Identifier,
    operation: Literal["pause", "resume", "stop"],
    body: OperationBody,
) -> CampaignAnswer:
    """Pause, resume or stop; 409 where the campaign's state does not allow it."""
    _seen(desk, operator, campaign)
    changed = desk.store.step_campaign(
        campaign,
        lambda stored: moved(stored, operation),
        rounds.clock(),
        operator.name,
        operation,
        body.reason,
    )
    return CampaignAnswer.of(changed)


def _seen(desk: Desk, operator: Operator, campaign_id: str) -> Campaign:
    """The campaign, if the operator may know of it.

    Raises:
        NotFoundError: it is not there, or another tenant's.
    """
    found = desk.store.campaign(campaign_id)
    if not operator.sees(found.fleet):
        raise NotFoundError(f"no campaign {campaign_id!r}")
    return found
