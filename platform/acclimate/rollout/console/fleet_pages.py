"""Pages about fleets: all of them, one of them, a new one, and what its devices start with."""

from __future__ import annotations

import re

from starlette.responses import Response

from acclimate.errors import RolloutError
from acclimate.rollout.api.tokens import Role
from acclimate.rollout.console.pictures import (
    adapted_loss,
    drift_rate,
    drift_sparkline,
    history_picture,
    wave_track,
)
from acclimate.rollout.console.visit import REFRESH_S, Visit
from acclimate.rollout.domain.fleet import FLEET_NAME, Fleet
from acclimate.rollout.domain.rollout import LIVE
from acclimate.rollout.domain.target import parse_target

_SHOWN_S = 7 * 86_400.0
_NAME_RULE = "small letters, digits and hyphens between them, at most 63"


def fleets(visit: Visit) -> Response:
    """Every fleet at a glance."""
    store, rows = visit.desk.store, []
    for fleet in store.fleets():
        if visit.operator.sees(fleet.name):
            latest = next(iter(store.rollouts(fleet.name)), None)
            counts = store.counts(fleet.name, visit.now - _SHOWN_S)
            running = {one.release for one in fleet.baselines}
            running |= {latest.plan.release} if latest and latest.live else set()
            rows.append(
                {
                    "fleet": fleet,
                    "devices": store.count_devices(fleet.name),
                    "latest": latest,
                    "drift": drift_sparkline(counts),
                    "loss": next(
                        (
                            loss
                            for row in reversed(counts)
                            if row.release in running and (loss := adapted_loss(row)) is not None
                        ),
                        None,
                    ),
                }
            )
    may_create = visit.operator.role >= Role.operator and visit.operator.fleet is None
    return visit.render(
        "fleets.html", section="Fleets", rows=rows, may_create=may_create, refresh_s=REFRESH_S
    )


def fleet(visit: Visit) -> Response:
    """One fleet: what runs, how it does, what is going on."""
    store, name = visit.desk.store, visit.fleet()
    kept = store.fleet(name)
    counts = store.counts(name, visit.now - _SHOWN_S)
    rollouts = store.rollouts(name)
    live = next((one for one in rollouts if one.state in LIVE), None)
    pictures = [
        history_picture("Loss after adaptation", counts, adapted_loss, "mean loss"),
        history_picture("Drift", counts, drift_rate, "drifts in 1,000 reports"),
    ]
    return visit.render(
        "fleet.html",
        section="Fleets",
        fleet=kept,
        devices=store.count_devices(name),
        live=live,
        track=wave_track(live) if live else None,
        rollouts=rollouts[:8],
        reports=sum(row.reports for row in counts),
        drifts=sum(row.drifts for row in counts),
        pictures=[picture for picture in pictures if picture],
        may_write=visit.operator.role >= Role.operator,
        refresh_s=REFRESH_S,
    )


def new_fleet(visit: Visit) -> Response:
    """The form for a new fleet."""
    return visit.render("new_fleet.html", section="Fleets", name="", problem="", rule=_NAME_RULE)


def create_fleet(visit: Visit) -> Response:
    """Create a fleet and show it."""
    visit.operator.require(Role.operator)
    visit.operator.require_all_fleets()
    name = visit.form.get("name", "").strip()
    problem = "" if re.fullmatch(FLEET_NAME, name) else f"Use {_NAME_RULE}."
    if not problem:
        fleet = Fleet(name, created_at=visit.now, poll_interval_s=visit.desk.settings.poll_interval_s)
        try:
            visit.desk.store.add_fleet(fleet, visit.operator.name)
        except RolloutError as error:
            problem = str(error)
    if problem:
        return visit.render("new_fleet.html", section="Fleets", name=name, problem=problem, rule=_NAME_RULE)
    return visit.go(f"/fleets/{name}", f"Fleet {name} is there. Let devices in with an enrolment token.")


def baseline(visit: Visit) -> Response:
    """The form that says what devices run without a rollout."""
    return _baseline_form(visit, "")


def set_baseline(visit: Visit) -> Response:
    """Give the fleet's devices a release without a rollout."""
    visit.operator.require(Role.operator)
    name, target = visit.fleet(), visit.form.get("target", "").strip()
    try:
        parse_target(target)
        release = visit.desk.choose(visit.form.get("release", ""), visit.operator, name)
        visit.desk.store.set_baseline(name, target, release, visit.now, visit.operator.name)
    except RolloutError as error:
        return _baseline_form(visit, str(error))
    return visit.go(f"/fleets/{name}", f"Devices run {release.name} version {release.version} from now on.")


def _baseline_form(visit: Visit, problem: str) -> Response:
    name = visit.fleet()
    return visit.render(
        "baseline.html",
        section="Fleets",
        fleet=visit.desk.store.fleet(name),
        releases=visit.desk.published(visit.operator, name),
        form=visit.form,
        problem=problem,
    )
