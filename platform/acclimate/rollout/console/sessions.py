"""Who sits before the console: sessions on the server, and proof against forged forms.

The cookie holds a random name and nothing else that opens anything; what it stands for is looked up at each
request, so signing out, revoking a session or revoking its API token ends it on every replica at once.
"""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request

from acclimate.rollout.api.operator.operators import Operator, Operators
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.tokens import Role, hash_token
from acclimate.rollout.domain.access import ConsoleSession
from acclimate.rollout.store import Store

COOKIE = "acclimate_session"
SIGN_ON = "oidc:"
"""Begins the id of an operator whom an OpenID provider vouches for; others are ids of API tokens."""
SIGN_ON_COOKIE, SIGN_ON_PATH, AWAY_S = "acclimate_sign_on", "/console/sign-on", 600
BASE = "/console"


def open_session(request: Request, store: Store, operator: Operator, lifetime_s: float, now: float) -> None:
    """Begin a session; whatever the browser held before is dropped."""
    name = secrets.token_urlsafe(32)
    opened = ConsoleSession(
        id=hash_token(name),
        subject=operator.id,
        name=operator.name,
        role=operator.role.name,
        fleet=operator.fleet,
        opened_at=now,
        expires_at=now + lifetime_s,
    )
    store.open_session(opened)
    request.session.clear()
    request.session.update({"id": name, "csrf": secrets.token_urlsafe(24)})


def operator_of(request: Request, store: Store, operators: Operators, now: float) -> Operator:
    """The operator of this session.

    Raises:
        ProblemError: 401, without a session or when it or its token has ended.
    """
    found = store.session(hash_token(request.session.get("id", "")), now)
    if found is None:
        csrf = request.session.get("csrf")  # of a sign-in that is being filled in
        request.session.clear()
        request.session.update({"csrf": csrf} if csrf else {})
        raise ProblemError(401, "not-authenticated", "sign in with an API token")
    if not found.subject.startswith(SIGN_ON):
        return operators.by_id(found.subject)
    return Operator(found.subject, found.name, Role[found.role], found.fleet)


def close_session(request: Request, store: Store, now: float) -> None:
    """End the session, here and wherever else its cookie was copied to."""
    store.end_session(hash_token(request.session.get("id", "")), now)
    request.session.clear()


def offer_form(request: Request) -> None:
    """Make sure that a form on the page can prove where it comes from, signed in or not."""
    request.session.setdefault("csrf", secrets.token_urlsafe(24))


def check_form(request: Request, given: str) -> None:
    """Make sure that a form was sent from a page of this session.

    Raises:
        ProblemError: 403.
    """
    expected = request.session.get("csrf", "")
    if not expected or not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        raise ProblemError(403, "stale-form", "this form is no longer valid: go back, reload and try again")


def note(request: Request, style: str, text: str) -> None:
    """Leave a note for the next page."""
    request.session["notes"] = [*request.session.get("notes", []), {"style": style, "text": text[:500]}][-3:]


def take_notes(request: Request) -> list[dict[str, str]]:
    """The notes to show now."""
    notes: list[dict[str, str]] = request.session.pop("notes", [])
    return notes


def safe_target(target: str, base: str = BASE) -> str:
    """Where to go after signing in: a page of the console at `base`, whatever a link says."""
    plain = target.lower().replace("%2e", ".")  # as browsers read it before they go up a folder
    ours = target.startswith(f"{base}/") and not any(one in plain for one in ("\\", "//", "/.."))
    return target if ours and target.isprintable() else f"{base}/"
