"""Who may do what, and who did."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query

from acclimate.rollout.api.operator.caller import AsAdmin, AsViewer
from acclimate.rollout.api.operator.context import AtDesk, Limit
from acclimate.rollout.api.operator.schemas import ApiTokenAnswer, Identifier, SessionAnswer, WhoAmI
from acclimate.rollout.api.tokens import API_PREFIX, new_token
from acclimate.rollout.bodies import ApiTokenBody
from acclimate.rollout.domain.access import ApiToken, AuditEntry
from acclimate.rollout.store import NotFoundError

router = APIRouter(tags=["access"])


@router.get("/whoami")
def whoami(operator: AsViewer) -> WhoAmI:
    """Whose token this is and what it may do."""
    return WhoAmI(id=operator.id, name=operator.name, role=operator.role.name, fleet=operator.fleet)


@router.get("/tokens")
def list_tokens(desk: AtDesk, operator: AsAdmin) -> list[ApiTokenAnswer]:
    """API tokens, revoked ones too. An administrator of one fleet sees that fleet's alone."""
    return [ApiTokenAnswer.of(token) for token in desk.store.api_tokens() if operator.sees(token.fleet)]


@router.post("/tokens", status_code=201)
def create_token(desk: AtDesk, operator: AsAdmin, body: ApiTokenBody) -> ApiTokenAnswer:
    """Make an API token; it is shown in this answer and never again."""
    fleet = body.fleet or operator.fleet
    if not operator.sees(fleet):
        operator.require_all_fleets()
    if fleet is not None:
        desk.store.fleet(fleet)
    now = time.time()
    token, kept = new_token(API_PREFIX)
    record = ApiToken(
        id=kept[:12],
        name=body.name,
        role=body.role,
        hash=kept,
        created_at=now,
        created_by=operator.name,
        fleet=fleet,
        expires_at=None if body.lifetime_s is None else now + body.lifetime_s,
    )
    desk.store.add_api_token(record, operator.name)
    return ApiTokenAnswer.of(record, token)


@router.delete("/tokens/{token}", status_code=204)
def revoke_token(desk: AtDesk, operator: AsAdmin, token: Identifier) -> None:
    """End an API token at once, and the console sessions that were opened with it.

    The last one with which an administrator of all fleets can enter stays, unless a provider signs some in.
    """
    if token not in {one.id for one in desk.store.api_tokens() if operator.sees(one.fleet)}:
        raise NotFoundError(f"there is no API token {token!r}: list them with: acclimate token list")
    keep_one = not desk.settings.oidc_admins
    desk.store.revoke_api_token(token, time.time(), operator.name, keep_one)


@router.get("/sessions")
def list_sessions(desk: AtDesk, operator: AsAdmin) -> list[SessionAnswer]:
    """Who is signed in to the console. An administrator of one fleet sees that fleet's alone."""
    return [SessionAnswer.of(one) for one in desk.store.sessions(time.time()) if operator.sees(one.fleet)]


@router.delete("/sessions/{session}", status_code=204)
def end_session(desk: AtDesk, operator: AsAdmin, session: Identifier) -> None:
    """End a session at once, on every replica."""
    now = time.time()
    found = [one for one in desk.store.sessions(now) if operator.sees(one.fleet) and one.id[:12] == session]
    if not found:
        raise NotFoundError(f"no session {session!r}")
    desk.store.end_session(found[0].id, now, operator.name)


@router.get("/audit")
def audit(
    desk: AtDesk,
    operator: AsAdmin,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    limit: Limit = 100,
) -> list[AuditEntry]:
    """The audit log, newest first, those with a sequence below `before`."""
    return desk.store.audit(fleet=operator.fleet, before=before, limit=limit)
