"""Pages about campaigns: all of them, and how one went."""

from __future__ import annotations

import math

from starlette.responses import Response

from acclimate.rollout.console.visit import REFRESH_S, Visit
from acclimate.rollout.domain.campaign import FLAGGED_FROM
from acclimate.rollout.store import NotFoundError

WORTH_FROM = 300
"""Devices below which noise leaves little of what a fleet knows."""


def campaigns(visit: Visit) -> Response:
    """Every campaign, newest first."""
    found = visit.desk.store.campaigns(visit.operator.fleet)
    return visit.render("campaigns.html", section="Campaigns", campaigns=found, refresh_s=REFRESH_S)


def campaign(visit: Visit) -> Response:
    """One campaign: who took part, what was spent, whose contributions were refused."""
    store, name = visit.desk.store, visit.path("campaign")
    one = store.campaign(name)
    if not visit.operator.sees(one.fleet):
        raise NotFoundError(f"no campaign {name!r}")
    refusals: dict[str, int] = {}
    for each in store.contributors(one.fleet):
        refusals[each.device] = refusals.get(each.device, 0) + each.refusals
    refused = [each for each in store.contributors(one.fleet, name) if each.refusals]
    bounded = math.isfinite(one.epsilon)
    return visit.render(
        "campaign.html",
        section="Campaigns",
        campaign=one,
        epsilon=one.epsilon if bounded else None,
        spent=one.epsilon if bounded and one.state == "done" else 0.0,
        devices=store.count_devices(one.fleet),
        small=bounded and store.count_devices(one.fleet) < WORTH_FROM,
        worth_from=WORTH_FROM,
        refused=[(each, refusals[each.device] >= FLAGGED_FROM) for each in refused],
        refresh_s=REFRESH_S if one.live else 0,
    )
