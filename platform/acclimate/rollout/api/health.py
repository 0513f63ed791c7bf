"""Whether the process lives, whether it is ready, and its metrics."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.limits import client_address
from acclimate.rollout.api.operator.caller import Door
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.roster import Roster
from acclimate.rollout.api.tokens import bearer
from acclimate.rollout.store import Store

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def routes(
    store: Store, roster: Roster, registry: CollectorRegistry, door: Door, max_age_s: float
) -> list[Route]:
    """`/healthz`, `/readyz` and `/metrics`.

    Args:
        max_age_s: the process is not ready when its roster is older than this.
    """

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        age_s = time.monotonic() - roster.refreshed_at
        if not roster.ready or age_s > max_age_s:
            raise ProblemError(503, "unavailable", "the fleets are not loaded or out of date")
        try:
            await in_thread(store.ping, time.time())
        except Exception as error:
            raise ProblemError(503, "unavailable", "the database does not take what is written") from error
        return JSONResponse({"status": "ready", "fleets": len(roster.sections)})

    async def metrics(request: Request) -> Response:
        if not from_within(request):
            operator = await door.admit(
                bearer(request.headers.get("authorization")), client_address(request.scope)
            )
            operator.require_all_fleets()
        text = await in_thread(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    handlers: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/healthz": live,
        "/readyz": ready,
        "/metrics": metrics,
    }
    return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items()]


def from_within(request: Request) -> bool:
    """Whether a request comes from the cluster itself: a private address, and through no proxy. Metrics name
    every tenant, so anyone else needs a token."""
    if any(header in request.headers for header in _FORWARDED) or request.client is None:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_private
    except ValueError:
        return False
