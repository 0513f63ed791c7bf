"""The ways into the console and out of it: an API token, or an OpenID provider."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from acclimate.errors import RolloutError
from acclimate.rollout.api.blocking import in_persons_thread
from acclimate.rollout.api.limits import client_address
from acclimate.rollout.api.operator.caller import Door
from acclimate.rollout.api.operator.context import Desk
from acclimate.rollout.api.operator.operators import Operator
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.console.sessions import (
    AWAY_S,
    BASE,
    SIGN_ON_COOKIE,
    SIGN_ON_PATH,
    check_form,
    close_session,
    offer_form,
    open_session,
    safe_target,
)
from acclimate.rollout.console.visit import PAGE_HEADERS, form_of, render
from acclimate.rollout.settings import ServiceSettings

if TYPE_CHECKING:
    from acclimate.rollout.console.sign_on import SignOn

log = logging.getLogger(__name__)


class Entrance:
    """The pages that nobody has to be signed in for.

    Args:
        secret: signs what a visitor carries to the provider and back; shared by all replicas.
    """

    def __init__(self, desk: Desk, door: Door, secret: str) -> None:
        self._desk, self._door = desk, door
        self._configured = _sign_on(desk.settings, secret)
        self._prefix = desk.settings.prefix
        self._base = self._prefix + BASE

    def routes(self) -> list[Route]:
        """Starlette routes."""
        return [
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/sign-on", self.leave, methods=["GET"]),
            Route("/sign-on/callback", self.arrive, methods=["GET"]),
        ]

    async def login(self, request: Request) -> Response:
        """The form, and what comes of it."""
        target = safe_target(request.query_params.get("next", ""), self._base)
        if request.method != "POST":
            return self._form(request, target)
        form = await form_of(request)
        check_form(request, form.get("csrf", ""))
        token, address = form.get("token", "").strip() or None, client_address(request.scope)
        try:
            operator = await self._door.admit(token, address)
        except ProblemError as problem:
            return self._form(request, target, problem.detail, problem.status)
        await self._enter(request, operator)
        return RedirectResponse(safe_target(form.get("next", ""), self._base), 303, PAGE_HEADERS)

    async def logout(self, request: Request) -> Response:
        """The session ends, here and on the server."""
        check_form(request, (await form_of(request)).get("csrf", ""))
        await in_persons_thread(close_session, request, self._desk.store, time.time())
        return RedirectResponse(f"{self._base}/login", 303, PAGE_HEADERS)

    async def leave(self, request: Request) -> Response:
        """To the provider."""
        sign_on = self._provider(request)
        target = safe_target(request.query_params.get("next", ""), self._base)
        try:
            departure = await sign_on.leave(target)
        except RolloutError as error:
            return self._form(request, target, str(error), 502)
        answer = RedirectResponse(departure.url, 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            SIGN_ON_COOKIE,
            departure.cookie,
            max_age=AWAY_S,
            path=self._prefix + SIGN_ON_PATH,
            secure=self._desk.settings.https,
            httponly=True,
            samesite="lax",  # the provider's page leads back here
        )
        return answer

    async def arrive(self, request: Request) -> Response:
        """Back from the provider."""
        sign_on = self._provider(request)
        try:
            carried = request.cookies.get(SIGN_ON_COOKIE, "")
            operator, target = await sign_on.arrive(request.query_params, carried)
        except RolloutError as error:
            log.info("sign-on-refused", extra={"error": error})
            return self._form(request, f"{self._base}/", str(error), 403)
        await self._enter(request, operator)
        # A page and no redirect: another site led here, and a redirect would still be that site's.
        answer = render(request, "arrived.html", target=safe_target(target, self._base))
        answer.delete_cookie(SIGN_ON_COOKIE, path=self._prefix + SIGN_ON_PATH)
        return answer

    def _provider(self, request: Request) -> SignOn:
        self._door.pass_stranger(client_address(request.scope))
        if self._configured is None:
            raise ProblemError(404, "not-found", "no OpenID provider is configured: ACCLIMATE_OIDC_ISSUER")
        return self._configured

    async def _enter(self, request: Request, operator: Operator) -> None:
        lifetime_s = self._desk.settings.session_lifetime_s
        await in_persons_thread(open_session, request, self._desk.store, operator, lifetime_s, time.time())

    def _form(self, request: Request, target: str, problem: str = "", status: int = 200) -> Response:
        offer_form(request)
        sign_on = self._prefix + SIGN_ON_PATH if self._configured else ""
        shown = {"target": target, "problem": problem, "sign_on": sign_on}
        return render(request, "login.html", status, **shown)


def _sign_on(settings: ServiceSettings, secret: str) -> SignOn | None:
    if not settings.oidc_issuer:
        return None
    from acclimate.rollout.console.sign_on import SignOn  # its libraries are loaded where they are used

    return SignOn(settings, secret)
