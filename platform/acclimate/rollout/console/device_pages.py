"""Pages about devices and the tokens with which they enrol."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.responses import Response

from acclimate.rollout.api.operator.devices import answers
from acclimate.rollout.api.tokens import ENROLMENT_PREFIX, Role, new_token
from acclimate.rollout.console.pictures import device_picture
from acclimate.rollout.console.visit import REFRESH_S, Visit
from acclimate.rollout.domain.access import EnrolmentToken
from acclimate.rollout.domain.fleet import MOST_ENROLMENTS
from acclimate.rollout.store import NotFoundError

_PAGE = 50


def devices(visit: Visit) -> Response:
    """A page of a fleet's devices."""
    name, contains, after = visit.fleet(), visit.query("contains"), visit.query("after")
    fleet = visit.desk.store.fleet(name)
    page = visit.desk.store.devices(name, after=after, limit=_PAGE + 1, contains=contains)
    return visit.render(
        "devices.html",
        section="Fleets",
        fleet=fleet,
        devices=answers(visit.desk, name, page[:_PAGE]),
        contains=contains,
        after=after,
        following=page[_PAGE - 1].id if len(page) > _PAGE else "",
    )


def device(visit: Visit) -> Response:
    """One device: what it runs, what it should run, and its latest reports."""
    name, device_id = visit.fleet(), visit.path("device")
    kept = visit.desk.store.device(name, device_id)
    reports = visit.desk.store.device_reports(name, device_id, 60)
    events = [
        event
        for report in reports
        for event in reversed(json.loads(report.payload or "{}").get("events", []))
    ]
    return visit.render(
        "device.html",
        section="Fleets",
        device=answers(visit.desk, name, [kept])[0],
        reports=reports[:20],
        events=events[:20],
        picture=device_picture(reports),
        may_write=visit.operator.role >= Role.operator,
        refresh_s=REFRESH_S,
    )


def confirm_retirement(visit: Visit) -> Response:
    """Ask before a device is retired."""
    consequence = (
        "The service refuses the device from now on. It keeps working with what it has; to come back it has "
        "to enrol again with a new token."
    )
    return _confirm(visit, "Retire device", consequence, "Retire device", danger=True)


def retire(visit: Visit) -> Response:
    """Retire a device."""
    return _done(visit, visit.desk.store.retire_device, "is retired")


def confirm_resolution(visit: Visit) -> Response:
    """Ask whether one machine has the identity again."""
    consequence = (
        "The first machine that asks from now on is this device. Before that, switch the other one off or "
        "give it an identity of its own: acclimate-device enrol --new-key, with a new token."
    )
    return _confirm(visit, "End the hold of device", consequence, "End the hold", danger=False)


def resolve(visit: Visit) -> Response:
    """One machine has the identity again."""
    return _done(visit, visit.desk.store.resolve_device, "is held no more")


def _confirm(visit: Visit, title: str, consequence: str, button: str, danger: bool) -> Response:
    kept = visit.desk.store.device(visit.fleet(), visit.path("device"))
    return visit.render(
        "confirm.html",
        section="Fleets",
        title=f"{title} {kept.hardware_id or kept.id}",
        consequence=consequence,
        button=button,
        danger=danger,
        reason=False,
        back=f"/fleets/{kept.fleet}/devices/{kept.id}",
    )


def _done(visit: Visit, change: Callable[[str, str, float, str], object], told: str) -> Response:
    visit.operator.require(Role.operator)
    name, device_id = visit.fleet(), visit.path("device")
    change(name, device_id, visit.now, visit.operator.name)
    return visit.go(f"/fleets/{name}/devices/{device_id}", f"Device {device_id} {told}.")


def enrolment(visit: Visit) -> Response:
    """A fleet's enrolment tokens."""
    return _enrolment(visit, "", "")


def create_token(visit: Visit) -> Response:
    """Make an enrolment token; this page is the only one that ever shows it."""
    visit.operator.require(Role.operator)
    name = visit.fleet()
    visit.desk.store.fleet(name)
    quota, days = visit.whole("quota", 1, MOST_ENROLMENTS), visit.whole("days", 1, 3650)
    if quota is None:
        return _enrolment(
            visit, "", f"Say how many devices may enrol: a number from 1 to {MOST_ENROLMENTS:,}."
        )
    if days is None:
        return _enrolment(visit, "", "Say for how many days the token holds: a number from 1 to 3,650.")
    token, kept = new_token(ENROLMENT_PREFIX)
    record = EnrolmentToken(
        id=kept[:12],
        fleet=name,
        hash=kept,
        created_at=visit.now,
        created_by=visit.operator.name,
        quota=quota,
        expires_at=visit.now + days * 86_400,
    )
    visit.desk.store.add_enrolment_token(record, visit.operator.name)
    return _enrolment(visit, token, "")


def revoke_token(visit: Visit) -> Response:
    """End an enrolment token."""
    visit.operator.require(Role.operator)
    name, token = visit.fleet(), visit.path("token")
    if token not in {one.id for one in visit.desk.store.enrolment_tokens(name)}:
        raise NotFoundError(f"no enrolment token {token!r} in fleet {name!r}")
    visit.desk.store.revoke_enrolment_token(token, visit.now, visit.operator.name)
    return visit.go(f"/fleets/{name}/enrolment", f"Enrolment token {token} is revoked.")


def _enrolment(visit: Visit, token: str, problem: str) -> Response:
    name = visit.fleet()
    return visit.render(
        "enrolment.html",
        section="Fleets",
        fleet=visit.desk.store.fleet(name),
        tokens=sorted(visit.desk.store.enrolment_tokens(name), key=lambda one: -one.created_at),
        token=token,
        url=visit.desk.settings.url,
        problem=problem,
        may_write=visit.operator.role >= Role.operator,
    )
