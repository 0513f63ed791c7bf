"""The device side of HTTP: the protocol of `acclimate_device.protocol`, route by route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from acclimate.rollout.api.enrolment import EnrolmentDesk
from acclimate.rollout.api.files import serve_file
from acclimate.rollout.api.limits import RateLimit, client_address
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.roster import Section
from acclimate.rollout.api.state import Gatekeeper, asked_by
from acclimate.rollout.file_store import FileStore
from acclimate.rollout.releases import Releases
from acclimate_device.protocol import (
    CONTRIBUTION_PATH,
    DEALING_PATH,
    ENROLMENT_PATH,
    JOINING_PATH,
    KEY_PATH,
    MESSAGES,
    REPORT_PATH,
    REPOSITORY_PATH,
    ROUND_PATH,
    STATE_PATH,
    TOKEN_PATH,
    TURN_PATH,
    UNMASKING_PATH,
    dumps,
    json_schema,
)

OPENAPI_PATH = "/device/v1/openapi.json"


class DeviceSide:
    """Handlers of what devices ask for, but polls and reports.

    Args:
        releases: says where a fleet's part of the TUF repository lies.
        targets: the files of bundles, which may lie in an object store.
        clock: Unix seconds.
    """

    def __init__(
        self,
        enrolments: EnrolmentDesk,
        gatekeeper: Gatekeeper,
        releases: Releases,
        targets: FileStore,
        anonymous: RateLimit,
        prefix: str,
        clock: Callable[[], float],
    ) -> None:
        self._enrolments, self._gatekeeper = enrolments, gatekeeper
        self._releases, self._targets, self._anonymous = releases, targets, anonymous
        self._prefix, self._clock = prefix, clock

    def routes(self) -> list[Route]:
        """Starlette routes."""
        return [
            Route(ENROLMENT_PATH, self.enrol, methods=["POST"]),
            Route(TOKEN_PATH, self.token, methods=["POST"]),
            Route(KEY_PATH, self.change_key, methods=["POST"]),
            Route(REPOSITORY_PATH + "/metadata/{path:path}", self.metadata, methods=["GET"]),
            Route(REPOSITORY_PATH + "/targets/{path:path}", self.target, methods=["GET"]),
            Route(OPENAPI_PATH, self.openapi, methods=["GET"]),
        ]

    async def enrol(self, request: Request) -> Response:
        """One-time token and a key in, identity out."""
        body = await request.body()
        with self._stranger(request) as sparing:
            return _message(await self._enrolments.enrol(body, self._clock(), sparing), 201)

    async def token(self, request: Request) -> Response:
        """Proof of the key in, bearer token out."""
        body = await request.body()
        with self._stranger(request) as sparing:
            answer = _message(await self._enrolments.token(body, self._clock(), sparing))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def change_key(self, request: Request) -> Response:
        """Proof of two keys in: the second one is the device's from now on."""
        body = await request.body()
        with self._stranger(request) as sparing:
            await self._enrolments.change_key(body, self._clock(), sparing)
        return Response(status_code=204)

    @contextmanager
    def _stranger(self, request: Request) -> Iterator[bool]:
        """Keep an address to its rate of failures. What succeeds costs it nothing, so one that fails does not
        keep honest devices behind the same address out; once it is over its rate, the database is asked no
        more for it, and what can be told from memory is still answered: gives whether that is so."""
        address = client_address(request.scope)
        try:
            yield self._anonymous.exhausted(address)
        except ProblemError as problem:
            if problem.status in (400, 401, 403):
                self._anonymous.take(address)
            raise

    async def metadata(self, request: Request) -> Response:
        """The TUF metadata: signed, so that it may be served by anyone and cached by nobody for long."""
        access, _, _ = self._gatekeeper.admit(*asked_by(request))
        path = request.path_params["path"]
        return await serve_file(request, self._releases.metadata_file(access.fleet, path), path, "no-cache")

    async def target(self, request: Request) -> Response:
        """A file of a bundle that this device's fleet runs or is rolling out; of no other tenant's."""
        _, section, _ = self._gatekeeper.admit(*asked_by(request))
        path = request.path_params["path"]
        if not may_fetch(section, path):
            raise ProblemError(404, "not-found", f"no file {path[:200]!r} in the repository")
        return await serve_file(request, self._targets, path, "private, max-age=31536000, immutable")

    async def openapi(self, request: Request) -> Response:
        """The device side's own OpenAPI document, from the protocol's schemas."""
        return JSONResponse(document(self._prefix))


def may_fetch(section: Section, path: str) -> bool:
    """Whether a fleet's devices may fetch `<name>/<version>/<file>`."""
    name, _, rest = path.partition("/")
    version, _, _ = rest.partition("/")
    return version.isdecimal() and len(version) < 11 and (name, int(version)) in section.releases


def document(prefix: str) -> dict[str, Any]:
    """OpenAPI 3.1 of the device side.

    Args:
        prefix: the path under which a proxy serves it, or nothing.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "Acclimate device side", "version": "1"},
        "servers": [{"url": prefix or "/"}],
        "paths": _paths(),
        "components": {
            "schemas": {kind.__name__: json_schema(kind) for kind in MESSAGES},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> dict[str, Any]:
    unchanged = {"304": {"description": "Unchanged"}}
    file = {"200": {"description": "The file"}, "206": {"description": "The range"}} | unchanged
    known = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
    path = {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}
    taken = {"204": {"description": "Taken"}}
    state = _answer("DesiredState, signed", "Envelope") | unchanged
    asked = _answer("Round, signed", "Envelope") | {"204": {"description": "Nothing is asked for"}}
    turn = _answer("The turn", "Turn") | {"204": {"description": "Nothing is wanted, or no more"}}
    enrolled = _answer("Enrolled", "Enrolled", "201")
    changed = {"204": {"description": "The service knows the new key alone"}}
    received = _answer("Receipt", "Receipt")
    proven = _answer("Token", "Token")
    hidden = "What a round that hides contributions wants of this device now"
    counts = "Give what the round asks for; it counts once"
    return {
        ENROLMENT_PATH: _post("Enrol a device", "Envelope", enrolled, secured=False),
        TOKEN_PATH: _post("Prove the key, get a bearer token", "Envelope", proven, secured=False),
        KEY_PATH: _post("Go over to another key", "Envelope", changed, secured=False),
        REPORT_PATH: _post("Hand in reports", "ReportBatch", received),
        STATE_PATH: _get("What this device should do", state, known),
        ROUND_PATH: _get("What a campaign asks of this device", asked),
        CONTRIBUTION_PATH: _post(counts, "Contribution", taken),
        TURN_PATH: _get(hidden, turn),
        JOINING_PATH: _post("Join such a round", "Member", taken),
        DEALING_PATH: _post("Deal shares of this device's secrets", "Dealing", taken),
        UNMASKING_PATH: _post("Take the masks off the sum", "Unmasking", taken),
        REPOSITORY_PATH + "/metadata/{path}": _get("TUF metadata", file, path),
        REPOSITORY_PATH + "/targets/{path}": _get("A file of a bundle", file, path),
    }


def _get(summary: str, answers: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"get": _operation(summary, answers) | {"parameters": list(parameters)}}


def _post(summary: str, body: str, answers: dict[str, Any], secured: bool = True) -> dict[str, Any]:
    asked = {"requestBody": {"required": True, "content": _content(body)}}
    return {"post": _operation(summary, answers, secured) | asked}


def _operation(summary: str, answers: dict[str, Any], secured: bool = True) -> dict[str, Any]:
    problem = _content("Problem", "application/problem+json")
    errors = {"default": {"description": "Problem details (RFC 9457)", "content": problem}}
    return {
        "summary": summary,
        "responses": answers | errors,
        "security": [{"bearer": []}] if secured else [],
    }


def _answer(description: str, name: str, status: str = "200") -> dict[str, Any]:
    return {status: {"description": description, "content": _content(name)}}


def _content(name: str, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _message(message: object, status: int = 200) -> Response:
    return Response(dumps(message), status, media_type="application/json")
