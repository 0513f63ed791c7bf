"""The service as one ASGI application: every part made, wired and started here and nowhere else."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import acclimate
from acclimate.rollout.api import health, problems
from acclimate.rollout.api.background import Background
from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.conditions import conditions
from acclimate.rollout.api.contributions import ContributionSide
from acclimate.rollout.api.device_side import DeviceSide
from acclimate.rollout.api.enrolment import EnrolmentDesk
from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.limits import BodyLimit, RateLimit
from acclimate.rollout.api.machines import MachineDesk
from acclimate.rollout.api.metrics import Collected, ServiceMetrics, fault_metrics, fleet_metrics
from acclimate.rollout.api.operator import access, campaigns, devices, fleets, retraining, rollouts
from acclimate.rollout.api.operator import health as operator_health
from acclimate.rollout.api.operator.caller import Door
from acclimate.rollout.api.operator.context import Desk
from acclimate.rollout.api.operator.operators import Operators
from acclimate.rollout.api.proofs import Freshness
from acclimate.rollout.api.report_endpoint import ReportEndpoint
from acclimate.rollout.api.reports import ReportDesk
from acclimate.rollout.api.request_log import RequestLog, side_of
from acclimate.rollout.api.roster import Roster
from acclimate.rollout.api.rounds import RoundDesk
from acclimate.rollout.api.state import Gatekeeper, StateEndpoint
from acclimate.rollout.api.taken import TakenLog
from acclimate.rollout.api.tokens import AccessTokens
from acclimate.rollout.connections import Prompt, Take
from acclimate.rollout.console.app import console
from acclimate.rollout.faults import Faults
from acclimate.rollout.file_store import FileStore
from acclimate.rollout.releases import AliasOf, Releases
from acclimate.rollout.retraining import Retrainer
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import Store
from acclimate.traces import trace_requests, tracing
from acclimate_device.protocol import REPORT_PATH, STATE_PATH, PublicKey

READY_AGE_S = 60.0
FLEETS_MAX_AGE_S, CONDITIONS_MAX_AGE_S = 10.0, 300.0  # of figures read from the store for metrics


class Service:
    """One replica: its parts, and its life from `start` to `stop`.

    Args:
        alias_of: asks the registry for a version by alias; None where there is none.
        clock: Unix seconds, for everything devices are told; simulations pass their own.
        retrainer: starts trainings when operators or alerts ask; None where that is not configured.
        faults: shared with what else runs in this process.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        store: Store,
        key: ServiceKey,
        alias_of: AliasOf | None = None,
        clock: Callable[[], float] = time.time,
        retrainer: Retrainer | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.settings, self.store = settings, store
        self.metrics = ServiceMetrics()
        self.faults = faults = faults or Faults(clock)
        fleets_read = partial(fleet_metrics, store, faults)
        watched = partial(conditions, store, settings, clock, faults)
        for name, found, max_age_s in (
            ("fleets", fleets_read, FLEETS_MAX_AGE_S),
            ("conditions", watched, CONDITIONS_MAX_AGE_S),
            ("faults", partial(fault_metrics, faults), 0.0),
        ):
            self.metrics.registry.register(Collected(name, found, max_age_s, faults))
        self.roster, self.taken = Roster(store), TakenLog(clock)
        self.operators = Operators(store)
        self.reports = ReportDesk(store, self.metrics)
        self.background = Background(self.metrics)
        metadata = FileStore((settings.tuf / "metadata").absolute().as_uri())
        targets = FileStore(settings.artifacts)
        releases = Releases(metadata, targets, alias_of, settings.tuf / "tenants")
        self.desk = Desk(store, releases, settings, retrainer, faults)
        anonymous = RateLimit(settings.anonymous_rate, settings.anonymous_burst, time.monotonic)
        self.door = Door(
            self.operators,
            RateLimit(settings.operator_rate, settings.operator_burst, time.monotonic),
            anonymous,
        )
        tokens = AccessTokens(key.derive("device access tokens"))
        audience = PublicKey.of(key.public_bytes).key_id
        limit = RateLimit(settings.device_rate, settings.device_burst, time.monotonic)
        self.gatekeeper = Gatekeeper(tokens, self.roster, limit, audience, clock)
        self.state = StateEndpoint(self.gatekeeper, key, self.taken, self.roster, self.metrics)
        freshness = Freshness(audience, clock, store.spend_proof)
        machines = MachineDesk(store, self.roster)
        enrolments = EnrolmentDesk(
            store, self.roster, key, tokens, freshness, machines, settings.device_token_lifetime_s
        )
        self.devices = DeviceSide(
            enrolments,
            self.gatekeeper,
            releases,
            targets,
            anonymous,
            settings.prefix,
            clock,
        )
        self.report_endpoint = ReportEndpoint(
            self.reports,
            self.gatekeeper,
            machines,
            RateLimit(settings.report_bytes_rate, settings.report_bytes_burst, time.monotonic),
            settings.max_body_bytes,
            clock,
        )
        self.rounds = RoundDesk(store, secrets.token_hex(16), clock, self.metrics, cap=settings.epsilon_cap)
        self.contributing = ContributionSide(self.gatekeeper, self.rounds, key)
        self.session_secret = key.derive("console sessions").hex()

    async def start(self) -> None:
        """Load the fleets, then keep up with the store."""
        await self.operators.refresh()
        await self.refresh()
        tick = self.settings.tick_s
        await self.rounds.refresh()
        self.background.every(tick, "roster", self.refresh)
        self.background.every(tick, "campaigns", self.rounds.refresh)
        self.background.every(2 * tick, "operators", self.operators.refresh)
        self.background.every(min(tick, 0.5), "taken", self.write_taken)
        self.background.every(0.0, "reports", self.reports.run)

    async def stop(self) -> None:
        """End the background work; notes of what devices were told are written first."""
        await self.background.stop()
        await self.write_taken()

    async def refresh(self) -> None:
        """Take in what changed in the store."""
        await self.roster.refresh()
        self.metrics.refreshed_at.set_to_current_time()
        sections = self.roster.sections.values()
        self.taken.forget_all_but({section.live.id for section in sections if section.live})

    async def write_taken(self) -> None:
        """Store which devices were told to take part since the last time."""
        waiting = self.taken.drain()
        if not waiting:
            return
        try:
            await in_thread(self.store.record_taken, waiting)
        except Exception:
            self.taken.put_back(waiting)
            raise


def application(service: Service) -> ASGIApp:
    """The ASGI application of a service."""
    settings = service.settings

    def observed(app: ASGIApp) -> Any:
        logged: Any = RequestLog(app, service.metrics, settings.https)
        return trace_requests(logged, lambda method, path: f"{method} {side_of(path)}")

    limited = BodyLimit(_router(service), settings.max_body_bytes)
    proxied: Any = ProxyHeadersMiddleware(observed(limited), trusted_hosts=settings.proxies)
    bare = {STATE_PATH: service.state, REPORT_PATH: observed(service.report_endpoint)}
    app = BareFirst(bare, proxied)
    return Prefixed(app, settings.prefix) if settings.prefix else app


def prompt_answers(service: Service) -> dict[bytes, Prompt]:
    """What of `application` the server may answer by itself, by path, below a proxy's prefix as well."""
    return dict.fromkeys(_paths(service, STATE_PATH), service.state.answer)


def taken_requests(service: Service) -> dict[bytes, Take]:
    """What of `application` the server may hand over by itself, likewise; none while requests are traced."""
    if tracing():
        return {}
    observed = RequestLog(service.report_endpoint, service.metrics, service.settings.https)
    return dict.fromkeys(_paths(service, REPORT_PATH), observed.around(service.report_endpoint.take))


def _paths(service: Service, path: str) -> list[bytes]:
    return [path.encode(), f"{service.settings.prefix}{path}".encode()]


class Prefixed:
    """Takes off the path under which a proxy serves us, whether or not the proxy has done so itself."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            scope = {**scope, "path": path.removeprefix(self._prefix) or "/"}
        await self._app(scope, receive, send)


class BareFirst:
    """Sends what devices ask all day straight to its endpoint and everything else through the framework.

    Args:
        bare: endpoints by path.
    """

    def __init__(self, bare: Mapping[str, ASGIApp], rest: ASGIApp) -> None:
        self._bare, self._rest = bare, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bare = self._bare.get(scope["path"]) if scope["type"] == "http" else None
        await (bare or self._rest)(scope, receive, send)


def _router(service: Service) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    registry = service.metrics.registry
    pages = console(service.desk, service.operators, service.door, service.session_secret)

    async def to_console(request: Request) -> Response:
        return RedirectResponse(f"{service.settings.prefix}/console/")

    app = Starlette(
        routes=[
            *service.devices.routes(),  # first: what is asked for most is found soonest
            *service.contributing.routes(),
            *health.routes(service.store, service.roster, registry, service.door, READY_AGE_S),
            Mount("/api", KeepUp(operator_app(service), service)),
            Mount("/console", KeepUp(pages, service)),
            Route("/", to_console, methods=["GET"]),
            Route("/console", to_console, methods=["GET"]),
        ],
        exception_handlers={**dict.fromkeys(problems.HANDLED, problems.answer), Exception: problems.answer},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would lead wherever the Host header says
    return app


def operator_app(service: Service) -> FastAPI:
    """The REST interface, with its OpenAPI document at `/api/openapi.json`."""
    content = {problems.MEDIA_TYPE: {"schema": _PROBLEM}}
    problem = {"description": "Problem details (RFC 9457)", "content": content}
    app = FastAPI(
        title="Acclimate operator side",
        servers=[{"url": f"{service.settings.prefix}/api"}],
        root_path_in_servers=False,  # it knows nothing of a proxy's prefix
        version=acclimate.__version__,
        docs_url=None,  # the usual pages load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        responses={"4XX": problem},
        exception_handlers={**dict.fromkeys(problems.HANDLED, problems.answer), Exception: problems.answer},
    )
    app.state.desk, app.state.door, app.state.rounds = service.desk, service.door, service.rounds
    app.state.metrics = service.metrics
    for part in (fleets, devices, rollouts, campaigns, retraining, access, operator_health):
        app.include_router(part.router, prefix="/v1")

    return app


class KeepUp:
    """Takes in what a request wrote before its answer leaves, so that it is true for the caller's next
    request to this replica and not only at the next tick."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def kept_up(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                await self._service.refresh()
                await self._service.operators.refresh()
                await self._service.rounds.refresh()
            await send(message)

        reads = scope.get("method") in ("GET", "HEAD")
        # The framework's routes know GET alone; the server leaves the bodies of answers to HEAD out.
        read = {**scope, "method": "GET"} if reads else scope
        await self._app(read, receive, send if reads else kept_up)


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
