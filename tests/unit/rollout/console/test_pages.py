import re

import pytest

from acclimate.rollout import operations
from acclimate.rollout.domain.plan import DEFAULT_GATES, Plan
from acclimate_device.protocol import Release, Start

pytestmark = pytest.mark.anyio
RELEASE = Release("press", 1, "a" * 64)


async def sign_in(world, headers=None) -> None:
    token = (headers or world.admin)["Authorization"].removeprefix("Bearer ")
    form = {"csrf": csrf_of((await world.http.get("/console/login")).text), "token": token}
    answer = await world.http.post("/console/login", data=form | {"next": "/console/"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")


def csrf_of(page: str) -> str:
    return re.search(r'name="csrf" value="([^"]+)"', page)[1]


async def test_strangers_are_sent_to_sign_in_and_brought_back(world):
    answer = await world.http.get("/console/fleets/plant")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/login?next=/console/fleets/plant"
    csrf = csrf_of((await world.http.get("/console/login")).text)
    wrong = await world.http.post("/console/login", data={"token": "acl_wrong", "csrf": csrf})
    assert wrong.status_code == 401
    assert "unknown or was revoked" in wrong.text


async def test_the_session_cookie_is_for_the_console_and_no_script(world):
    token = world.admin["Authorization"].removeprefix("Bearer ")
    csrf = csrf_of((await world.http.get("/console/login")).text)
    answer = await world.http.post("/console/login", data={"token": token, "csrf": csrf})
    cookie = answer.headers["set-cookie"].lower()
    assert all(flag in cookie for flag in ("httponly", "samesite=strict", "path=/console"))
    assert token.lower() not in cookie


async def test_a_fleet_is_made_and_let_devices_in(world):
    await sign_in(world)
    form = {"csrf": csrf_of((await world.http.get("/console/new-fleet")).text)}
    refused = await world.http.post("/console/new-fleet", data=form | {"name": "Not A Name"})
    assert "Use small letters" in refused.text
    made = await world.http.post("/console/new-fleet", data=form | {"name": "plant"})
    assert made.headers["location"] == "/console/fleets/plant"
    shown = await world.http.post("/console/fleets/plant/enrolment", data=form | {"quota": "3", "days": "7"})
    token = re.search(r"ace_[\w-]+", shown.text)[0]
    assert token not in (await world.http.get("/console/fleets/plant/enrolment")).text
    (kept,) = await world.call("GET", "/fleets/plant/enrolment-tokens")
    assert kept["quota"] == 3


async def test_a_form_from_elsewhere_changes_nothing(world):
    await sign_in(world)
    for form in ({"name": "plant"}, {"name": "plant", "csrf": "guess"}):
        answer = await world.http.post("/console/new-fleet", data=form)
        assert answer.status_code == 403
    assert await world.call("GET", "/fleets") == []


async def test_a_rollout_is_confirmed_before_it_is_operated(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    plan = Plan("plant", RELEASE, (), DEFAULT_GATES)
    rollout = operations.draft(world.service.store, plan, "test", 1.0)
    await sign_in(world)
    page = await world.http.get(f"/console/rollouts/{rollout.id}")
    assert "press version 1" in page.text
    assert f"/console/rollouts/{rollout.id}/start" in page.text
    question = await world.http.get(f"/console/rollouts/{rollout.id}/start")
    assert world.service.store.rollout(rollout.id).state == "draft"
    form = {"csrf": csrf_of(question.text), "reason": "because"}
    done = await world.http.post(f"/console/rollouts/{rollout.id}/start", data=form)
    assert done.headers["location"] == f"/console/rollouts/{rollout.id}"
    assert world.service.store.rollout(rollout.id).state == "promoting"
    again = await world.http.post(f"/console/rollouts/{rollout.id}/start", data=form)
    assert again.status_code == 303
    why = (await world.http.get(f"/console/rollouts/{rollout.id}")).text
    assert "because" in why
    assert "cannot be started" in why


async def test_every_page_renders_and_is_fenced(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant", site="<b>A</b>")
    rollout = operations.draft(world.service.store, Plan("plant", RELEASE, (), DEFAULT_GATES), "test", 1.0)
    await sign_in(world)
    for path in [
        "/",
        "/new-fleet",
        "/fleets/plant",
        "/fleets/plant/baseline",
        "/fleets/plant/enrolment",
        "/fleets/plant/devices?contains=d-",
        f"/fleets/plant/devices/{device.identity.device_id}",
        f"/fleets/plant/devices/{device.identity.device_id}/retire",
        "/fleets/plant/rollouts/new",
        "/rollouts",
        f"/rollouts/{rollout.id}",
        f"/rollouts/{rollout.id}/decisions",
        f"/rollouts/{rollout.id}/abort",
        "/audit",
    ]:
        answer = await world.http.get("/console" + path)
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "<b>A" not in answer.text
        assert " style=" not in answer.text, "the content policy would drop it"
        assert set(re.findall(r"https?://[^/\"<]*", answer.text)) <= {"http://127.0.0.1:8080"}, (
            "works offline"
        )


async def test_a_device_that_two_machines_are_says_so_and_is_resolved(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = (await world.device("plant")).identity.device_id
    await sign_in(world)
    page = f"/console/fleets/plant/devices/{device}"
    assert "two machines" not in (await world.http.get(page)).text.lower()
    for number in "12":
        world.service.store.start("plant", device, Start(number * 32, 5, number * 64), 1e9)
    shown = (await world.http.get(page)).text
    assert "Two machines use this identity" in shown
    assert "hardware 11111111 at its start 5 and hardware 22222222 at its start 5" in shown
    assert "two machines" in (await world.http.get("/console/fleets/plant/devices")).text
    asked = await world.http.get(f"{page}/resolve")
    assert "acclimate-device enrol --new-key" in asked.text
    viewer = await world.http.post(f"{page}/resolve", data={"csrf": "guess"})
    assert viewer.status_code == 403
    done = await world.http.post(f"{page}/resolve", data={"csrf": csrf_of(asked.text)})
    assert (done.status_code, done.headers["location"]) == (303, page)
    assert "Two machines" not in (await world.http.get(page)).text
    kept = await world.call("GET", f"/fleets/plant/devices/{device}")
    assert (kept["doubled_at"], kept["doubled"]) == (None, "")
    with_role = await world.operator("viewer")
    path = f"/api/v1/fleets/plant/devices/{device}/resolve"
    assert (await world.http.post(path, headers=with_role)).status_code == 403


async def test_a_viewer_sees_no_buttons_and_presses_none(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    rollout = operations.draft(world.service.store, Plan("plant", RELEASE, (), DEFAULT_GATES), "test", 1.0)
    await sign_in(world, await world.operator("viewer"))
    page = (await world.http.get(f"/console/rollouts/{rollout.id}")).text
    assert "Start rollout" not in page
    csrf = csrf_of(page)
    for path in (f"/rollouts/{rollout.id}/start", "/fleets/plant/enrolment", "/fleets/plant/baseline"):
        answer = await world.http.post("/console" + path, data={"csrf": csrf, "quota": "1", "days": "1"})
        assert answer.status_code == 403, path
    assert (await world.http.get("/console/audit")).status_code == 403


async def test_a_tenant_sees_its_own_fleet_alone(world):
    for name in ("plant", "rival"):
        await world.call("POST", "/fleets", {"name": name}, 201)
    theirs = operations.draft(world.service.store, Plan("rival", RELEASE, (), DEFAULT_GATES), "test", 1.0)
    await sign_in(world, await world.operator("admin", "plant"))
    assert "rival" not in (await world.http.get("/console/")).text
    assert theirs.id not in (await world.http.get("/console/rollouts")).text
    for path in (
        "/fleets/rival",
        "/fleets/rival/devices",
        "/fleets/rival/enrolment",
        f"/rollouts/{theirs.id}",
    ):
        assert (await world.http.get("/console" + path)).status_code == 404, path


async def test_revoking_a_token_ends_its_session(world):
    made = await world.call("POST", "/tokens", {"name": "mara", "role": "admin"}, 201)
    await sign_in(world, {"Authorization": f"Bearer {made['token']}"})
    assert (await world.http.get("/console/")).status_code == 200
    await world.call("DELETE", f"/tokens/{made['id']}", status=204)
    assert (await world.http.get("/console/")).status_code == 303
