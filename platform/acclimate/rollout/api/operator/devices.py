"""Devices, their reports, and the tokens with which they enrol."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from acclimate.rollout.api.operator.caller import AsOperator, AsViewer, see
from acclimate.rollout.api.operator.context import AtDesk, Desk, Limit
from acclimate.rollout.api.operator.schemas import (
    DeviceAnswer,
    EnrolmentTokenAnswer,
    FleetPath,
    Identifier,
    Search,
)
from acclimate.rollout.api.tokens import ENROLMENT_PREFIX, new_token
from acclimate.rollout.bodies import Attributes, EnrolmentTokenBody
from acclimate.rollout.domain.access import EnrolmentToken
from acclimate.rollout.domain.assignment import assign
from acclimate.rollout.domain.fleet import Device
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import LIVE
from acclimate.rollout.store import NotFoundError

router = APIRouter(prefix="/fleets/{fleet}", tags=["devices"])


@router.get("/devices")
def list_devices(
    desk: AtDesk,
    operator: AsViewer,
    fleet: FleetPath,
    after: Search = "",
    contains: Search = "",
    retired: bool = False,
    limit: Limit = 100,
) -> list[DeviceAnswer]:
    """A page of devices by id: those after `after` whose id contains `contains`."""
    see(operator, fleet)
    desk.store.fleet(fleet)
    page = desk.store.devices(fleet, after=after, limit=limit, contains=contains, retired=retired)
    return answers(desk, fleet, page)


@router.get("/devices/{device}")
def show_device(desk: AtDesk, operator: AsViewer, fleet: FleetPath, device: Identifier) -> DeviceAnswer:
    """One device, what it should do now, and when it last reported."""
    see(operator, fleet)
    return answers(desk, fleet, [desk.store.device(fleet, device)])[0]


@router.get("/devices/{device}/reports")
def device_reports(
    desk: AtDesk,
    operator: AsViewer,
    fleet: FleetPath,
    device: Identifier,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[ReportRecord]:
    """A device's latest reports, newest first, with the whole report as it came in `payload`."""
    see(operator, fleet)
    desk.store.device(fleet, device)
    return desk.store.device_reports(fleet, device, limit)


@router.put("/devices/{device}/attributes")
def set_attributes(
    desk: AtDesk, operator: AsOperator, fleet: FleetPath, device: Identifier, body: Attributes
) -> DeviceAnswer:
    """Replace the attributes by which rollouts target the device."""
    see(operator, fleet)
    changed = desk.store.set_attributes(fleet, device, body, time.time(), operator.name)
    return answers(desk, fleet, [changed])[0]


@router.post("/devices/{device}/retire")
def retire_device(desk: AtDesk, operator: AsOperator, fleet: FleetPath, device: Identifier) -> DeviceAnswer:
    """Refuse the device from now on: its tokens end at once."""
    see(operator, fleet)
    return answers(desk, fleet, [desk.store.retire_device(fleet, device, time.time(), operator.name)])[0]


@router.post("/devices/{device}/resolve")
def resolve_device(desk: AtDesk, operator: AsOperator, fleet: FleetPath, device: Identifier) -> DeviceAnswer:
    """End the hold of a device whose identity two machines used: from now on one does, the first to ask."""
    see(operator, fleet)
    return answers(desk, fleet, [desk.store.resolve_device(fleet, device, time.time(), operator.name)])[0]


@router.get("/enrolment-tokens")
def list_enrolment_tokens(desk: AtDesk, operator: AsViewer, fleet: FleetPath) -> list[EnrolmentTokenAnswer]:
    """Tokens with which devices enrol, and how many did."""
    see(operator, fleet)
    desk.store.fleet(fleet)
    return [EnrolmentTokenAnswer.of(token) for token in desk.store.enrolment_tokens(fleet)]


@router.post("/enrolment-tokens", status_code=201)
def create_enrolment_token(
    desk: AtDesk, operator: AsOperator, fleet: FleetPath, body: EnrolmentTokenBody
) -> EnrolmentTokenAnswer:
    """Make a token that lets `quota` devices in, each once; it is shown in this answer and never again."""
    see(operator, fleet)
    desk.store.fleet(fleet)
    now = time.time()
    token, kept = new_token(ENROLMENT_PREFIX)
    record = EnrolmentToken(
        id=kept[:12],
        fleet=fleet,
        hash=kept,
        created_at=now,
        created_by=operator.name,
        quota=body.quota,
        expires_at=now + body.lifetime_s,
    )
    desk.store.add_enrolment_token(record, operator.name)
    return EnrolmentTokenAnswer.of(record, token)


@router.delete("/enrolment-tokens/{token}", status_code=204)
def revoke_enrolment_token(desk: AtDesk, operator: AsOperator, fleet: FleetPath, token: Identifier) -> None:
    """End an enrolment token; devices that enrolled with it stay."""
    see(operator, fleet)
    if token not in {one.id for one in desk.store.enrolment_tokens(fleet)}:
        remedy = f"list them with: acclimate fleet tokens {fleet}"
        raise NotFoundError(f"fleet {fleet!r} has no enrolment token {token!r}: {remedy}")
    desk.store.revoke_enrolment_token(token, time.time(), operator.name)


def answers(desk: Desk, fleet: str, devices: Sequence[Device]) -> list[DeviceAnswer]:
    """Devices with their assignments and their last reports."""
    kept = desk.store.fleet(fleet)
    live = next(iter(desk.store.rollouts(fleet, sorted(LIVE))), None)
    reports = desk.store.last_reports(fleet, [device.id for device in devices])
    return [
        DeviceAnswer.of(
            device,
            None
            if device.retired_at is not None
            else assign(
                kept, live, device.id, device.attributes, device.revision, device.doubled_at is not None
            ),
            reports.get(device.id),
        )
        for device in devices
    ]
