"""The console as one ASGI application: its pages, its session cookie, and how it shows errors."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from acclimate.rollout.api.limits import client_address
from acclimate.rollout.api.operator.caller import Door
from acclimate.rollout.api.operator.context import Desk
from acclimate.rollout.api.operator.operators import Operators
from acclimate.rollout.api.problems import HANDLED, ProblemError, from_exception
from acclimate.rollout.console import access_pages, device_pages, fleet_pages, rollout_pages
from acclimate.rollout.console.sessions import COOKIE, check_form, open_session, safe_target
from acclimate.rollout.console.visit import BASE, PAGE_HEADERS, Page, endpoint, form_of, render


def console(desk: Desk, operators: Operators, door: Door, secret: str) -> Starlette:
    """The console.

    Args:
        secret: signs session cookies; shared by all replicas.
    """

    async def login(request: Request) -> Response:
        target = safe_target(request.query_params.get("next", ""))
        if request.method == "GET":
            return render(request, "login.html", target=target, problem="")
        form = await form_of(request)
        try:
            operator = await door.admit(form.get("token", "").strip() or None, client_address(request.scope))
        except ProblemError as problem:
            return render(request, "login.html", problem.status, target=target, problem=problem.detail)
        open_session(request, operator)
        return RedirectResponse(safe_target(form.get("next", "")), 303, PAGE_HEADERS)

    async def logout(request: Request) -> Response:
        check_form(request, (await form_of(request)).get("csrf", ""))
        request.session.clear()
        return RedirectResponse(f"{BASE}/login", 303, PAGE_HEADERS)

    async def failed(request: Request, error: Exception) -> Response:
        problem = from_exception(error)
        if problem.status == 401:
            wanted = BASE + request.url.path.removeprefix(BASE) if request.method == "GET" else f"{BASE}/"
            return RedirectResponse(f"{BASE}/login?next={wanted}", 303, PAGE_HEADERS)
        return render(request, "problem.html", problem.status, problem=problem)

    def route(path: str, page: Page, method: str = "GET") -> Route:
        return Route(path, endpoint(page, desk, operators), methods=[method])

    return Starlette(
        routes=[
            Route("/login", login, methods=["GET", "POST"]),
            Route("/logout", logout, methods=["POST"]),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            route("/", fleet_pages.fleets),
            route("/fleets/new", fleet_pages.new_fleet),
            route("/fleets/new", fleet_pages.create_fleet, "POST"),
            route("/fleets/{fleet}", fleet_pages.fleet),
            route("/fleets/{fleet}/devices", device_pages.devices),
            route("/fleets/{fleet}/devices/{device}", device_pages.device),
            route("/fleets/{fleet}/devices/{device}/retire", device_pages.confirm_retirement),
            route("/fleets/{fleet}/devices/{device}/retire", device_pages.retire, "POST"),
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
            route("/audit", access_pages.audit),
        ],
        middleware=[
            Middleware(
                SessionMiddleware,
                secret_key=secret,
                session_cookie=COOKIE,
                max_age=int(desk.settings.session_lifetime_s),
                path=BASE,
                same_site="strict",
                https_only=desk.settings.https,
            )
        ],
        exception_handlers={**dict.fromkeys(HANDLED, failed), Exception: failed},
    )
