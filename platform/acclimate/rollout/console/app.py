"""The console as one ASGI application: its pages, its session cookie, and how it shows errors."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from acclimate.errors import RolloutError
from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.limits import client_address
from acclimate.rollout.api.operator.caller import Door
from acclimate.rollout.api.operator.context import Desk
from acclimate.rollout.api.operator.operators import Operator, Operators
from acclimate.rollout.api.problems import HANDLED, ProblemError, from_exception
from acclimate.rollout.console import access_pages, campaign_pages, device_pages, fleet_pages, rollout_pages
from acclimate.rollout.console.sessions import (
    AWAY_S,
    BASE,
    COOKIE,
    SIGN_ON_COOKIE,
    SIGN_ON_PATH,
    check_form,
    close_session,
    offer_form,
    open_session,
    safe_target,
)
from acclimate.rollout.console.visit import PAGE_HEADERS, Page, endpoint, form_of, render
from acclimate.rollout.settings import ServiceSettings

if TYPE_CHECKING:
    from acclimate.rollout.console.sign_on import SignOn

log = logging.getLogger(__name__)


def _sign_on(settings: ServiceSettings, secret: str) -> SignOn | None:
    if not settings.oidc_issuer:
        return None
    from acclimate.rollout.console.sign_on import SignOn  # its libraries are loaded where they are used

    return SignOn(settings, secret)


def console(desk: Desk, operators: Operators, door: Door, secret: str) -> Starlette:
    """The console.

    Args:
        secret: signs session cookies; shared by all replicas.
    """

    lifetime_s = desk.settings.session_lifetime_s
    sign_on = _sign_on(desk.settings, secret)
    prefix = desk.settings.prefix
    base = prefix + BASE

    async def enter(request: Request, operator: Operator) -> None:
        await in_thread(open_session, request, desk.store, operator, lifetime_s, time.time())

    def sign_in_page(request: Request, target: str, problem: str = "", status: int = 200) -> Response:
        offer_form(request)
        shown = {"target": target, "problem": problem, "sign_on": prefix + SIGN_ON_PATH if sign_on else ""}
        return render(request, "login.html", status, **shown)

    async def login(request: Request) -> Response:
        target = safe_target(request.query_params.get("next", ""), base)
        if request.method != "POST":
            return sign_in_page(request, target)
        form = await form_of(request)
        check_form(request, form.get("csrf", ""))
        try:
            operator = await door.admit(form.get("token", "").strip() or None, client_address(request.scope))
        except ProblemError as problem:
            return sign_in_page(request, target, problem.detail, problem.status)
        await enter(request, operator)
        return RedirectResponse(safe_target(form.get("next", ""), base), 303, PAGE_HEADERS)

    async def leave(request: Request) -> Response:
        door.pass_stranger(client_address(request.scope))
        target = safe_target(request.query_params.get("next", ""), base)
        if sign_on is None:
            raise ProblemError(404, "not-found", "no OpenID provider is configured: ACCLIMATE_OIDC_ISSUER")
        try:
            departure = await sign_on.leave(target)
        except RolloutError as error:
            return sign_in_page(request, target, str(error), 502)
        answer = RedirectResponse(departure.url, 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            SIGN_ON_COOKIE,
            departure.cookie,
            max_age=AWAY_S,
            path=prefix + SIGN_ON_PATH,
            secure=desk.settings.https,
            httponly=True,
            samesite="lax",  # the provider's page leads back here
        )
        return answer

    async def arrive(request: Request) -> Response:
        door.pass_stranger(client_address(request.scope))
        if sign_on is None:
            raise ProblemError(404, "not-found", "no OpenID provider is configured: ACCLIMATE_OIDC_ISSUER")
        try:
            carried = request.cookies.get(SIGN_ON_COOKIE, "")
            operator, target = await sign_on.arrive(request.query_params, carried)
        except RolloutError as error:
            log.info("sign-on-refused", extra={"error": error})
            return sign_in_page(request, f"{base}/", str(error), 403)
        await enter(request, operator)
        # A page and no redirect: another site led here, and a redirect would still be that site's.
        answer = render(request, "arrived.html", target=safe_target(target, base))
        answer.delete_cookie(SIGN_ON_COOKIE, path=prefix + SIGN_ON_PATH)
        return answer

    async def logout(request: Request) -> Response:
        check_form(request, (await form_of(request)).get("csrf", ""))
        await in_thread(close_session, request, desk.store, time.time())
        return RedirectResponse(f"{base}/login", 303, PAGE_HEADERS)

    async def failed(request: Request, error: Exception) -> Response:
        problem = from_exception(error)
        if problem.status == 401:
            path = request.url.path.removeprefix(BASE) if request.method != "POST" else "/"
            asked = f"?{request.url.query}" if request.url.query and request.method != "POST" else ""
            wanted = quote(f"{base}{path}{asked}", safe="/")
            return RedirectResponse(f"{base}/login?next={wanted}", 303, PAGE_HEADERS)
        page = render(request, "problem.html", problem.status, problem=problem)
        page.headers.update(problem.headers)
        return page

    def route(path: str, page: Page, method: str = "GET") -> Route:
        return Route(path, endpoint(page, desk, operators, door), methods=[method])

    app = Starlette(
        routes=[
            Route("/login", login, methods=["GET", "POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/sign-on", leave, methods=["GET"]),
            Route("/sign-on/callback", arrive, methods=["GET"]),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            route("/", fleet_pages.fleets),
            route("/new-fleet", fleet_pages.new_fleet),
            route("/new-fleet", fleet_pages.create_fleet, "POST"),
            route("/fleets/{fleet}", fleet_pages.fleet),
            route("/fleets/{fleet}/devices", device_pages.devices),
            route("/fleets/{fleet}/devices/{device}", device_pages.device),
            route("/fleets/{fleet}/devices/{device}/retire", device_pages.confirm_retirement),
            route("/fleets/{fleet}/devices/{device}/retire", device_pages.retire, "POST"),
            route("/fleets/{fleet}/devices/{device}/resolve", device_pages.confirm_resolution),
            route("/fleets/{fleet}/devices/{device}/resolve", device_pages.resolve, "POST"),
            route("/fleets/{fleet}/enrolment", device_pages.enrolment),
            route("/fleets/{fleet}/enrolment", device_pages.create_token, "POST"),
            route("/fleets/{fleet}/enrolment/{token}/revoke", device_pages.revoke_token, "POST"),
            route("/fleets/{fleet}/baseline", fleet_pages.baseline),
            route("/fleets/{fleet}/baseline", fleet_pages.set_baseline, "POST"),
            route("/fleets/{fleet}/rollouts/new", rollout_pages.new_rollout),
            route("/fleets/{fleet}/rollouts/new", rollout_pages.plan_rollout, "POST"),
            route("/rollouts", rollout_pages.rollouts),
            route("/rollouts/{rollout}", rollout_pages.rollout),
            route("/rollouts/{rollout}/decisions", rollout_pages.decisions),
            route("/rollouts/{rollout}/{operation}", rollout_pages.confirm),
            route("/rollouts/{rollout}/{operation}", rollout_pages.operate, "POST"),
            route("/campaigns", campaign_pages.campaigns),
            route("/campaigns/{campaign}", campaign_pages.campaign),
            route("/audit", access_pages.audit),
        ],
        middleware=[
            Middleware(
                SessionMiddleware,
                secret_key=secret,
                session_cookie=COOKIE,
                max_age=int(desk.settings.session_lifetime_s),
                path=base,
                same_site="strict",
                https_only=desk.settings.https,
            )
        ],
        exception_handlers={**dict.fromkeys(HANDLED, failed), Exception: failed},
    )
    app.state.base = base
    app.router.redirect_slashes = False  # it would lead wherever the Host header says
    return app
