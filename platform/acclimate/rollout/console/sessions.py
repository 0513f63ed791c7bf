"""Who sits before the console: signed session cookies that name an API token, and proof against forged forms.

A session holds no right of its own. Each request looks the token up again, so revoking it ends its sessions.
"""

from __future__ import annotations

import hmac
import secrets
import time

from starlette.requests import Request

from acclimate.rollout.api.operator.operators import Operator, Operators
from acclimate.rollout.api.problems import ProblemError

COOKIE = "acclimate_session"


def open_session(request: Request, operator: Operator) -> None:
    """Begin a session; whatever an earlier one held is dropped."""
    request.session.clear()
    request.session.update(
        {"token": operator.id, "csrf": secrets.token_urlsafe(24), "since": int(time.time())}
    )


def operator_of(request: Request, operators: Operators, lifetime_s: float) -> Operator:
    """The operator of this session.

    Raises:
        ProblemError: 401, without a session or when it or its token has ended.
    """
    session = request.session
    if "token" not in session or time.time() - session.get("since", 0) > lifetime_s:
        session.clear()
        raise ProblemError(401, "not-authenticated", "sign in with an API token")
    return operators.by_id(session["token"])


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


def safe_target(target: str) -> str:
    """Where to go after signing in: a page of the console, whatever a link says."""
    ours = target.startswith("/console/") and "\\" not in target and "//" not in target
    return target if ours and target.isprintable() else "/console/"
