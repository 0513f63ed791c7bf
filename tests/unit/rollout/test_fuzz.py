"""Every route under hostile input, as everybody who may knock: never a 5xx, nothing of another tenant.

Requests are drawn from a seed, so that what failed once fails again.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import Mount, Route

from acclimate.rollout.application import _router, operator_app
from acclimate_device.protocol import REPORT_PATH, STATE_PATH, Release
from tests.support.rollout_samples import NOW, a_device, a_fleet, a_report, a_rollout
from tests.unit.rollout.conftest import World
from tests.unit.rollout.console.test_pages import csrf_of, sign_in

pytestmark = pytest.mark.anyio
DRAWS = int(os.environ.get("FUZZ_DRAWS", "1"))
SECRET = "zanzibar"
"""In every name of the other tenant, and in nothing that a request says."""
THEIRS = Release(f"{SECRET}-model", 7, "7" * 64)
TEXTS = (
    "", "0", "-1", "1e300", "nan", "9" * 400, "\x00", "a\x00b", "\ud800", "é" * 300, "x" * 5_000,
    "../../etc/passwd", "%2e%2e%2f", "<script>", "' OR 1=1 --", "{}", "[]", "true", "mallory", "home",
    "r-1", "-", "\r\nSet-Cookie: a=b", "site=A", "(", "site in (", "100%", "1%, 1%", "press:1",
    "press:99999999999999999999", ":", "\u202e",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *TEXTS, None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1e308, -1e308, 0.5, [], [[]],
    {}, {"a": {}}, [None], ["a"] * 200, {"": ""}, [{"share": 1e308}], {"k" * 300: 1},
)  # fmt: skip
FORM = (
    "name", "release", "target", "waves", "min_devices", "control_percent", "reason", "despite_harm", "quota",
    "days", "poll_interval_s", "device_quota", "token", "next", "query", "after", "before",
)  # fmt: skip
HEADERS = ("range", "if-none-match", "x-request-id", "accept", "content-type", "x-forwarded-for", "cookie")


@pytest.fixture
async def tenants(world: World) -> World:
    """One tenant with something of everything, and another that wants to know of it."""
    store = world.service.store
    fleet = f"{SECRET}-fleet"
    store.add_fleet(a_fleet(fleet), SECRET)
    store.add_devices([replace(a_device(1, fleet), id=f"{SECRET}-device")], NOW, SECRET)
    store.set_baseline(fleet, "", THEIRS, NOW, SECRET)
    store.add_rollout(a_rollout(f"{SECRET}-rollout", fleet), SECRET)
    store.add_reports([a_report(f"{SECRET}-device", 1, fleet=fleet, release=THEIRS)])
    for name in ("mallory", "home"):
        await world.call("POST", "/fleets", {"name": name}, 201)
    store.add_rollout(a_rollout("r-1", "mallory"), "ada")
    return world


def routes(world: World) -> Iterator[tuple[str, str, list[str]]]:
    """Method, path with its places, and the names that a body may hold."""
    document = operator_app(world.service).openapi()
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            body = about.get("requestBody", {}).get("content", {}).get("application/json", {})
            kind = document["components"]["schemas"].get(
                body.get("schema", {}).get("$ref", "").split("/")[-1], {}
            )
            query = [one["name"] for one in about.get("parameters", []) if one["in"] == "query"]
            yield method.upper(), f"/api{path}", [*kind.get("properties", {}), *query]
    for prefix, found in [("", one) for one in _router(world.service).routes] + [
        ("/console", one)
        for mounted in _router(world.service).routes
        if isinstance(mounted, Mount) and mounted.path == "/console"
        for one in vars(mounted.app)["_app"].routes
    ]:
        if isinstance(found, Route):
            for method in sorted(found.methods or ()):
                yield method, prefix + found.path, list(FORM)
    for method in ("GET", "POST", "PATCH"):
        yield method, STATE_PATH, []
        yield method, REPORT_PATH, ["reports", "schema"]


async def knock(
    world: World, draw: random.Random, method: str, path: str, names: list[str], **known: Any
) -> Any:
    """One request with hostile things wherever something may stand."""
    places = TEXTS if draw.random() < 0.5 else ("mallory", "r-1")
    url = re.sub(r"\{[^}]*\}", lambda _: quote(httpx_safe(draw.choice(places)), safe="/%"), path)
    query = {name: httpx_safe(str(draw.choice(TEXTS))) for name in names if draw.random() < 0.2}
    fields = {name: draw.choice(VALUES) for name in names if draw.random() < 0.7}
    headers = {name: draw.choice(TEXTS)[:200] for name in HEADERS if draw.random() < 0.1}
    headers = {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
    options: dict[str, Any] = {"params": query, "headers": headers | known.get("headers", {})}
    if method in ("POST", "PUT", "PATCH") and path.startswith("/console"):
        options["data"] = {name: str(value)[:2000] for name, value in fields.items()} | known.get("form", {})
        options["data"] = {key: httpx_safe(value) for key, value in options["data"].items()}
    elif method not in ("GET", "HEAD"):
        given = draw.choice((fields, fields, fields, draw.choice(VALUES)))
        options["content"] = json.dumps(given, ensure_ascii=draw.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    return await world.http.request(method, url, **options)


def httpx_safe(text: str) -> str:
    """Without halves of surrogate pairs, which no URL and no form can carry."""
    return text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("role", ["stranger", "device", "viewer", "operator", "admin"])
async def test_nobody_gets_a_5xx_or_another_tenants_secrets(tenants: World, role: str):
    draw = random.Random(f"{role}/{DRAWS}")
    known: dict[str, Any] = {}
    if role == "device":
        known["headers"] = (await tenants.device("mallory")).headers
    elif role != "stranger":
        known["headers"] = await tenants.operator(role, "mallory")
        await sign_in(tenants, known["headers"])
        known["form"] = {
            "csrf": csrf_of((await tenants.http.get("/console/fleets/mallory/rollouts/new")).text)
        }
    paths = [one for one in routes(tenants) if "logout" not in one[1] and not one[1].startswith("/metrics")]
    assert len(paths) > 60
    for method, path, names in paths:
        for _ in range(DRAWS):
            answer = await knock(tenants, draw, method, path, names, **known)
            assert answer.status_code < 500, (role, answer.request.method, answer.request.url, answer.text)
            assert SECRET not in answer.text, (role, answer.request.method, answer.request.url)
            assert SECRET not in str(answer.headers)
    assert tenants.service.faults.current() == []
    assert (await tenants.http.get("/readyz")).status_code == 200
