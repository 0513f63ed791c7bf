"""The console under a path of a host that is shared, behind a proxy that takes the path off or leaves it."""

import re

import httpx
import pytest

from acclimate.rollout.application import application
from acclimate.rollout.settings import ServiceSettings
from acclimate_device.protocol import STATE_PATH
from tests.unit.rollout.conftest import running
from tests.unit.rollout.console.test_pages import csrf_of

pytestmark = pytest.mark.anyio
PREFIX = "/iot/acclimate"


@pytest.mark.parametrize("taken_off", [True, False])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_every_link_form_and_cookie_stays_under_the_prefix(tmp_path, taken_off, slash):
    settings = ServiceSettings(home=tmp_path, public_url=f"http://test{PREFIX}{slash}", anonymous_rate=0)
    async with running(settings) as world:
        inside = httpx.ASGITransport(application(world.service), client=("127.0.0.1", 50000))

        async def proxied(scope, receive, send):
            path = scope["path"]
            if scope["type"] == "http":
                assert path.startswith(f"{PREFIX}/"), f"{path} is not ours"
                scope = {**scope, "path": path.removeprefix(PREFIX) if taken_off else path}
            await inside.app(scope, receive, send)

        transport = httpx.ASGITransport(proxied, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            made = await http.post(f"{PREFIX}/api/v1/fleets", json={"name": "plant"}, headers=world.admin)
            assert made.status_code == 201
            assert (await http.get(f"{PREFIX}{STATE_PATH}")).status_code == 401
            for side, url in (("api", f"{PREFIX}/api"), ("device/v1", PREFIX)):
                document = (await http.get(f"{PREFIX}/{side}/openapi.json")).json()
                assert document["servers"] == [{"url": url}]
            answer = await http.get(f"{PREFIX}/", follow_redirects=True)
            token = world.admin["Authorization"].removeprefix("Bearer ")
            form = {"csrf": csrf_of(answer.text), "token": token, "next": f"{PREFIX}/console/fleets/plant"}
            answer = await http.post(f"{PREFIX}/console/login", data=form, follow_redirects=True)
            assert (answer.status_code, answer.url.path) == (200, f"{PREFIX}/console/fleets/plant")
            seen, waiting = set(), {f"{PREFIX}/console/"}
            while waiting - seen:
                path = (waiting - seen).pop()
                seen.add(path)
                page = await http.get(path)
                assert page.status_code == 200, path
                if page.headers["content-type"].startswith("text/html"):
                    waiting |= {
                        link.replace("&amp;", "&")
                        for link in re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
                        if not link.endswith(("/logout", "/revoke"))
                    }
            assert len(seen) > 8
            assert all(cookie.path == f"{PREFIX}/console" for cookie in http.cookies.jar)


async def test_who_is_sent_to_sign_in_comes_back_to_the_same_question(world):
    answer = await world.http.get("/console/fleets/plant/devices?contains=a%26b&after=c")
    where = httpx.URL(answer.headers["location"])
    assert where.params["next"] == "/console/fleets/plant/devices?contains=a%26b&after=c"


@pytest.mark.parametrize(
    "path", ["/console/login", "/console/", "/api/v1/fleets", "/api/v1/whoami", "/healthz", "/readyz"]
)
async def test_whether_something_is_there_may_be_asked_without_its_body(world, path):
    asked, got = [await world.http.request(verb, path, headers=world.admin) for verb in ("HEAD", "GET")]
    assert asked.status_code == got.status_code < 400


@pytest.mark.parametrize("name", ["new", "console", "api", "static", "login", "null", "devices", "rollouts"])
async def test_a_fleet_may_be_called_like_a_page(world, name):
    await world.call("POST", "/fleets", {"name": name}, 201)
    token = world.admin["Authorization"].removeprefix("Bearer ")
    form = {"csrf": csrf_of((await world.http.get("/console/login")).text), "token": token}
    await world.http.post("/console/login", data=form)
    page = await world.http.get(f"/console/fleets/{name}")
    assert (page.status_code, f"<h1>{name}</h1>" in page.text) == (200, True)
