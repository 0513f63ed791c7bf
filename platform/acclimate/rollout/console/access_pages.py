"""The audit log."""

from __future__ import annotations

from starlette.responses import Response

from acclimate.rollout.api.tokens import Role
from acclimate.rollout.console.visit import Visit

_PAGE = 100


def audit(visit: Visit) -> Response:
    """Who changed what, newest first."""
    visit.operator.require(Role.admin)
    before = visit.whole("before", 1, 2**53)
    entries = visit.desk.store.audit(fleet=visit.operator.fleet, before=before, limit=_PAGE)
    following = entries[-1].sequence if len(entries) == _PAGE else 0
    return visit.render("audit.html", section="Audit", entries=entries, following=following)
