"""One request to the console: who asks, what was sent, and how a page comes of it."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from acclimate.rollout.api.blocking import in_persons_thread
from acclimate.rollout.api.limits import client_address
from acclimate.rollout.api.operator.caller import Door, see
from acclimate.rollout.api.operator.context import Desk
from acclimate.rollout.api.operator.operators import Operator, Operators
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.console.scales import number
from acclimate.rollout.console.sessions import check_form, note, operator_of, take_notes

_NAMES_SOMETHING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
REFRESH_S = 5
_CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Visit:
    """A signed-in operator's request."""

    request: Request
    operator: Operator
    desk: Desk
    form: Mapping[str, str]
    now: float

    def path(self, name: str) -> str:
        """A part of the address.

        Raises:
            ProblemError: 404, for a text that names nothing here.
        """
        text = str(self.request.path_params[name])
        if not _NAMES_SOMETHING.fullmatch(text):
            raise ProblemError(404, "not-found", f"there is no {name} {text[:60]!r}")
        return text

    def whole(self, name: str, least: int, most: int) -> int | None:
        """A whole number of the form or the query within bounds; None for anything else."""
        text = (self.form.get(name) or self.query(name)).strip()
        usable = text.isascii() and text.isdecimal() and len(text) <= 18
        return int(text) if usable and least <= int(text) <= most else None

    def query(self, name: str) -> str:
        """A value of the query, short and printable."""
        text = self.request.query_params.get(name, "")[:128]
        return text if text.isprintable() else ""

    def fleet(self) -> str:
        """The fleet in the address, if the operator may know of it."""
        see(self.operator, self.path("fleet"))
        return self.path("fleet")

    def render(self, template: str, **values: Any) -> Response:
        """A page."""
        return render(self.request, template, operator=self.operator, now=self.now, **values)

    def go(self, path: str, text: str = "", style: str = "good") -> Response:
        """Send the browser on to a page of the console, where `text` is shown."""
        if text:
            note(self.request, style, text)
        return RedirectResponse(base_of(self.request) + path, status_code=303, headers=PAGE_HEADERS)


Page = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(page: Page, desk: Desk, operators: Operators, door: Door) -> Endpoint:
    """A Starlette endpoint for a page: checks session, rate and form, then runs the page in a thread."""

    async def handle(request: Request) -> Response:
        try:
            operator = await in_persons_thread(operator_of, request, desk.store, operators, time.time())
        except ProblemError:
            door.pass_stranger(client_address(request.scope))
            raise
        door.pass_session(operator)
        form = await form_of(request)
        if request.method == "POST":
            check_form(request, form.get("csrf", ""))
        return await in_persons_thread(page, Visit(request, operator, desk, form, time.time()))

    return handle


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; files are left out."""
    if request.method != "POST":
        return {}
    async with request.form(max_files=0, max_fields=50) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


def base_of(request: Request) -> str:
    """The path of the console as browsers know it: `/console`, after the prefix of a proxy if any."""
    return str(request.app.state.base)


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page from a template."""
    shown = {"operator": None, "section": "", "refresh_s": 0, "notes": take_notes(request), **values}
    csrf = Markup('<input type="hidden" name="csrf" value="{}">').format(request.session.get("csrf", ""))
    text = TEMPLATES.get_template(template).render(base=base_of(request), csrf=lambda: csrf, **shown)
    return HTMLResponse(text, status, PAGE_HEADERS)


def _moment(at: float | None) -> Markup:
    """A moment, in UTC, as machines and people read it."""
    if at is None:
        return Markup("-")
    moment = datetime.fromtimestamp(at, UTC)
    stamp, text = moment.isoformat(timespec="seconds"), moment.strftime("%d %b %Y, %H:%M UTC")
    return Markup('<time datetime="{}">{}</time>').format(stamp, text)


def _span(seconds: float) -> str:
    """A duration in its largest whole unit: `90 s`, `6 h`, `2 d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{number(round(seconds / size, 1))} {unit}"
    return f"{number(round(seconds, 1))} s"


def _ago(at: float | None, now: float) -> Markup:
    """How long ago a moment was, with the moment itself on hover."""
    if at is None:
        return Markup('<span class="quiet">never</span>')
    text = "just now" if now - at < 5 else f"{_span(now - at)} ago"
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, stamp, text)


_TAGS = {
    "draft": "", "running": "live", "promoting": "live", "paused": "warn", "held": "warn", "done": "good",
    "rolling_back": "bad", "rolled_back": "bad", "aborted": "",
    "open": "live", "void": "warn", "stopped": "",
    "pass": "good", "harm": "bad", "inconclusive": "warn",
}  # fmt: skip


def _tag(word: str) -> Markup:
    """A state or a verdict: its colour never says more than its word."""
    return Markup('<span class="tag {}">{}</span>').format(_TAGS.get(word, ""), word.replace("_", " "))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "moment": _moment, "span": _span, "ago": _ago, "tag": _tag}
    return environment


TEMPLATES = _environment()
