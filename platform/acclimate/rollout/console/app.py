"""The console as one ASGI application: its pages, its session cookie, and how it shows errors."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from acclimate.rollout.api.operator.caller import Door
from acclimate.rollout.api.operator.context import Desk
from acclimate.rollout.api.operator.operators import Operators
from acclimate.rollout.api.problems import HANDLED, from_exception
from acclimate.rollout.console import access_pages, campaign_pages, device_pages, fleet_pages, rollout_pages
from acclimate.rollout.console.entrance import Entrance
from acclimate.rollout.console.sessions import BASE, COOKIE
from acclimate.rollout.console.visit import PAGE_HEADERS, Page, endpoint, render

_PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/", fleet_pages.fleets),
    ("GET", "/new-fleet", fleet_pages.new_fleet),
    ("POST", "/new-fleet", fleet_pages.create_fleet),
    ("GET", "/fleets/{fleet}", fleet_pages.fleet),
    ("GET", "/fleets/{fleet}/devices", device_pages.devices),
    ("GET", "/fleets/{fleet}/devices/{device}", device_pages.device),
    ("GET", "/fleets/{fleet}/devices/{device}/retire", device_pages.confirm_retirement),
    ("POST", "/fleets/{fleet}/devices/{device}/retire", device_pages.retire),
    ("GET", "/fleets/{fleet}/devices/{device}/resolve", device_pages.confirm_resolution),
    ("POST", "/fleets/{fleet}/devices/{device}/resolve", device_pages.resolve),
    ("GET", "/fleets/{fleet}/enrolment", device_pages.enrolment),
    ("POST", "/fleets/{fleet}/enrolment", device_pages.create_token),
    ("POST", "/fleets/{fleet}/enrolment/{token}/revoke", device_pages.revoke_token),
    ("GET", "/fleets/{fleet}/baseline", fleet_pages.baseline),
    ("POST", "/fleets/{fleet}/baseline", fleet_pages.set_baseline),
    ("GET", "/fleets/{fleet}/rollouts/new", rollout_pages.new_rollout),
    ("POST", "/fleets/{fleet}/rollouts/new", rollout_pages.plan_rollout),
    ("GET", "/rollouts", rollout_pages.rollouts),
    ("GET", "/rollouts/{rollout}", rollout_pages.rollout),
    ("GET", "/rollouts/{rollout}/decisions", rollout_pages.decisions),
    ("GET", "/rollouts/{rollout}/{operation}", rollout_pages.confirm),
    ("POST", "/rollouts/{rollout}/{operation}", rollout_pages.operate),
    ("GET", "/campaigns", campaign_pages.campaigns),
    ("GET", "/campaigns/{campaign}", campaign_pages.campaign),
    ("GET", "/audit", access_pages.audit),
)


def console(desk: Desk, operators: Operators, door: Door, secret: str) -> Starlette:
    """The console.

    Args:
        secret: signs session cookies; shared by all replicas.
    """

    base = desk.settings.prefix + BASE

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

    app = Starlette(
        routes=[
            *Entrance(desk, door, secret).routes(),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            *(
                Route(path, endpoint(page, desk, operators, door), methods=[method])
                for method, path, page in _PAGES
            ),
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
