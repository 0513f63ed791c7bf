"""RFC 9457 problem details: the one shape of every error the service answers with.

A problem's `type` is a stable name a client can switch on; `detail` says what was wrong with this request
and what to do. Nothing about the inside of the service is ever told: a defect of ours answers with a
reference to the log line that has the stack trace.
"""

from __future__ import annotations

import errno
import json
import logging
import reprlib
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from acclimate.errors import AcclimateError, StoreError
from acclimate.rollout.bodies import WORDS
from acclimate.rollout.store import ConflictError, NotFoundError

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)


class ProblemError(Exception):
    """An error to answer with: `ProblemError(404, "fleet-not-found", "no fleet 'x'")`.

    Args:
        status: HTTP status, 4xx or 5xx.
        name: the problem's stable name, in words joined by hyphens.
        detail: one sentence for a person, with the remedy.
        headers: more headers of the answer.
        members: more members of the document, such as `errors`.
    """

    def __init__(
        self, status: int, name: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail = status, name, detail
        self.headers, self.members = dict(headers or {}), members

    def body(self) -> bytes:
        """The problem document."""
        document = {
            "type": f"urn:acclimate:problem:{self.name}",
            "title": self.name.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        return json.dumps(document).encode()

    def response(self) -> Response:
        """The answer."""
        return Response(self.body(), self.status, self.headers, MEDIA_TYPE)


def unauthenticated(detail: str) -> ProblemError:
    """Nobody known: 401 with the challenge RFC 6750 asks for."""
    return ProblemError(401, "not-authenticated", detail, {"WWW-Authenticate": 'Bearer realm="acclimate"'})


def from_validation(error: RequestValidationError) -> ProblemError:
    """A request that does not fit the schema, with each place that is wrong."""
    errors = [{"at": "/".join(map(str, item["loc"])), "detail": _detail(item)} for item in error.errors()]
    first = errors[0]
    return ProblemError(422, "invalid-request", f"{first['at']}: {first['detail']}", errors=errors)


def _detail(item: Mapping[str, Any]) -> str:
    """What is wrong at a place; a pattern is no sentence."""
    words = WORDS.get(item.get("ctx", {}).get("pattern", ""))
    return str(item["msg"]) if words is None else f"{reprlib.repr(item['input'])} does not fit: {words}"


def why_unavailable(error: BaseException) -> str:
    """What a client may know of a database that does not take what is written."""
    orig = getattr(error, "orig", None)
    if isinstance(error, NoConnectionError) or getattr(orig, "sqlstate", "") == "55P03":
        return "the database is busy: somebody keeps locked what this needs"
    full = getattr(orig, "sqlstate", "") == "53100" or "disk is full" in str(orig)
    if full or getattr(error, "errno", 0) == errno.ENOSPC:
        return "the service's disk is full: an operator must make room"
    if _is_forbidden(error):
        return "the database's role lost its right to what this needs: an operator must give it back"
    return "the database cannot be reached"


def _is_forbidden(error: BaseException) -> bool:
    return getattr(getattr(error, "orig", None), "sqlstate", "") == "42501"


def from_exception(error: Exception) -> ProblemError:
    """The problem that answers any exception."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        return from_validation(error)
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        name = "too-large" if error.status_code == 413 else phrase
        return ProblemError(error.status_code, name, str(error.detail), dict(error.headers or {}))
    if isinstance(error, NotFoundError):
        return ProblemError(404, "not-found", str(error))
    if isinstance(error, ConflictError):
        return ProblemError(409, "conflict", str(error))
    if (
        (isinstance(error, DBAPIError) and error.connection_invalidated)
        or isinstance(error, (OperationalError, NoConnectionError))
        or _is_forbidden(error)
    ):
        log.warning("database-unavailable", extra={"error": repr(getattr(error, "orig", error))})
        return ProblemError(503, "unavailable", why_unavailable(error), {"Retry-After": "10"})
    if isinstance(error, DataError):  # the database's own bounds, behind ours
        log.warning("value-not-storable", extra={"error": error.orig})
        return ProblemError(422, "invalid-request", "a value does not fit into its column")
    if isinstance(error, StoreError):
        log.warning("store-unavailable", extra={"error": str(error)})
        return ProblemError(
            503, "unavailable", "the store of bundles cannot be reached", {"Retry-After": "10"}
        )
    if isinstance(error, AcclimateError):
        return ProblemError(409, "refused", str(error))
    reference = secrets.token_hex(6)
    log.error("defect", extra={"reference": reference}, exc_info=error)
    return ProblemError(
        500,
        "internal-error",
        f"a defect of ours; the service's log has it under {reference}",
        reference=reference,
    )


# Starlette answers the classes on this list where they are raised; anything else passes through its outermost
# layer, which logs it once more and closes the connection.
HANDLED: tuple[type[Exception], ...] = (
    ProblemError,
    HTTPException,
    RequestValidationError,
    AcclimateError,
    DBAPIError,
    NoConnectionError,
)


async def answer(request: Request, error: Exception) -> Response:
    """Starlette's and FastAPI's exception handler."""
    return from_exception(error).response()
