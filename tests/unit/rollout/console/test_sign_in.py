"""Signing in and out: sessions on the server, forms that prove where they come from, the audit log."""

import pytest

from tests.unit.rollout.console.test_pages import csrf_of, sign_in

pytestmark = pytest.mark.anyio


async def actions(world):
    entries = await world.call("GET", "/audit")
    return [(one["action"], one["actor"]) for one in entries if one["action"].startswith("session.")]


async def test_signing_out_ends_the_session_wherever_its_cookie_was_copied_to(world):
    await sign_in(world)
    copied = world.http.cookies["acclimate_session"]
    page = (await world.http.get("/console/")).text
    out = await world.http.post("/console/logout", data={"csrf": csrf_of(page)})
    assert out.headers["location"] == "/console/login"
    world.http.cookies.set("acclimate_session", copied, domain="test.local", path="/console")
    again = await world.http.get("/console/", headers={"Cookie": f"acclimate_session={copied}"})
    assert (again.status_code, again.headers["location"]) == (303, "/console/login?next=/console/")
    assert await actions(world) == [("session.close", "admin"), ("session.open", "admin")]


async def test_an_administrator_ends_anothers_session(world):
    limited = await world.operator("viewer")
    await sign_in(world, limited)
    [one] = await world.call("GET", "/sessions")
    assert one["name"] == "viewer of None"
    await world.call("DELETE", f"/sessions/{one['id']}", status=204)
    assert (await world.http.get("/console/")).status_code == 303
    assert await world.call("GET", "/sessions") == []
    assert (await actions(world))[0] == ("session.close", "admin")
    await world.call("DELETE", f"/sessions/{one['id']}", status=404)


async def test_an_administrator_of_one_fleet_sees_its_sessions_alone(world):
    await world.call("POST", "/fleets", {"name": "ours"}, 201)
    await sign_in(world)
    limited = await world.operator("admin", "ours")
    assert (await world.http.get("/api/v1/sessions", headers=limited)).json() == []


async def test_a_form_from_elsewhere_signs_nobody_in(world):
    token = world.admin["Authorization"].removeprefix("Bearer ")
    for form in ({"token": token}, {"token": token, "csrf": "guess"}):
        answer = await world.http.post("/console/login", data=form)
        assert answer.status_code == 403
    assert await actions(world) == []


async def test_revoking_the_token_ends_its_sessions(world):
    limited = await world.operator("viewer")
    await sign_in(world, limited)
    made = next(one for one in await world.call("GET", "/tokens") if one["role"] == "viewer")
    await world.call("DELETE", f"/tokens/{made['id']}", status=204)
    assert (await world.http.get("/console/")).status_code == 303


async def test_pages_are_kept_to_a_rate(world):
    await sign_in(world)
    door = world.service.door
    door._limit._rate, door._limit._burst = 1.0, 3.0
    answers = [(await world.http.get("/console/")).status_code for _ in range(6)]
    assert answers[:2] == [200, 200]
    assert answers[-1] == 429
