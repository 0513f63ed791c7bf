import pytest
from fastapi.routing import APIRoute

from acclimate.rollout.api.operator import caller
from acclimate.rollout.application import operator_app
from acclimate_device.protocol import Release

pytestmark = pytest.mark.anyio
RELEASE = Release("press", 1, "a" * 64)
BODIES = {"POST": {}, "PUT": {}, "PATCH": {}, "DELETE": None, "GET": None}


def operations(world):
    for path, methods in operator_app(world.service).openapi()["paths"].items():
        for method in methods:
            yield method.upper(), "/api" + path


def filled(path: str) -> str:
    values = {"fleet": "plant", "device": "d-1", "token": "t-1", "rollout": "r-1", "operation": "start"}
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    return path


async def test_no_route_answers_without_a_token(world):
    found = list(operations(world))
    assert len(found) > 25
    for method, path in found:
        for headers in ({}, {"Authorization": "Bearer acl_wrong"}, {"Authorization": "Basic eA=="}):
            answer = await world.http.request(method, filled(path), json=BODIES[method], headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_viewer_changes_nothing(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    viewer = await world.operator("viewer")
    for method, path in operations(world):
        if method != "GET":
            answer = await world.http.request(method, filled(path), json=BODIES[method], headers=viewer)
            assert answer.status_code == 403, (method, path)


async def test_access_is_an_administrators(world):
    operator = await world.operator("operator")
    for method, path in [("GET", "/tokens"), ("POST", "/tokens"), ("DELETE", "/tokens/x"), ("GET", "/audit")]:
        answer = await world.http.request(method, "/api/v1" + path, json=BODIES[method], headers=operator)
        assert answer.status_code == 403, path


async def test_one_tenant_never_learns_of_another(world):
    for name in ("plant", "rival"):
        await world.call("POST", "/fleets", {"name": name}, 201)
    device = await world.device("rival")
    ours = await world.operator("admin", "plant")
    for path in [
        "/fleets/rival",
        "/fleets/rival/counts",
        "/fleets/rival/devices",
        f"/fleets/rival/devices/{device.identity.device_id}",
        "/fleets/rival/enrolment-tokens",
        "/rollouts?fleet=rival",
    ]:
        theirs = await world.http.get("/api/v1" + path, headers=ours)
        missing = await world.http.get("/api/v1" + path.replace("rival", "nobody"), headers=ours)
        assert theirs.status_code == missing.status_code == 404, path
    for method, path, body in [
        ("PATCH", "/fleets/rival", {"device_quota": 0}),
        ("PUT", "/fleets/rival/baseline", {"release": "press:1"}),
        ("POST", "/fleets/rival/enrolment-tokens", {}),
        ("POST", f"/fleets/rival/devices/{device.identity.device_id}/retire", {}),
        ("POST", "/fleets/rival/rollouts", {"release": "press:1"}),
    ]:
        assert (
            await world.http.request(method, "/api/v1" + path, json=body, headers=ours)
        ).status_code == 404
    fleets = (await world.http.get("/api/v1/fleets", headers=ours)).json()
    assert [fleet["name"] for fleet in fleets] == ["plant"]
    tokens = (await world.http.get("/api/v1/tokens", headers=ours)).json()
    assert {token["fleet"] for token in tokens} == {"plant"}
    audit = (await world.http.get("/api/v1/audit", headers=ours)).json()
    assert {entry["fleet"] for entry in audit} <= {"plant"}
    wider = {"name": "x", "role": "admin", "fleet": "rival"}
    assert (await world.http.post("/api/v1/tokens", json=wider, headers=ours)).status_code == 403
    assert (await world.http.post("/api/v1/fleets", json={"name": "new"}, headers=ours)).status_code == 403
    own = await world.http.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}, headers=ours)
    assert own.json()["fleet"] == "plant"


async def test_another_tenants_rollout_is_not_there(world):
    for name in ("plant", "rival"):
        await world.call("POST", "/fleets", {"name": name}, 201)
    rollout = plan(world, "rival")
    ours = await world.operator("admin", "plant")
    for method, path in [
        ("GET", ""), ("GET", "/decisions"), ("GET", "/observations"), ("POST", "/start"), ("POST", "/abort"),
    ]:  # fmt: skip
        answer = await world.http.request(
            method, f"/api/v1/rollouts/{rollout}{path}", json=BODIES[method], headers=ours
        )
        assert answer.status_code == 404, path
    assert (await world.http.get("/api/v1/rollouts", headers=ours)).json() == []


def plan(world, fleet: str) -> str:
    from acclimate.rollout import operations as rollouts
    from acclimate.rollout.domain.plan import DEFAULT_GATES, DEFAULT_WAVES, Plan

    made = Plan(fleet, RELEASE, DEFAULT_WAVES, DEFAULT_GATES)
    return rollouts.draft(world.service.store, made, "test", 1.0).id


async def test_a_rollout_is_operated_and_says_what_is_possible(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    rollout = plan(world, "plant")
    shown = await world.call("GET", f"/rollouts/{rollout}")
    assert shown["operations"] == ["start", "abort"]
    started = await world.call("POST", f"/rollouts/{rollout}/start", {"reason": "go"})
    assert started["rollout"]["state"] == "promoting"
    refused = await world.call("POST", f"/rollouts/{rollout}/start", {}, 409)
    assert "cannot be started" in refused["detail"]
    (decision,) = await world.call("GET", f"/rollouts/{rollout}/decisions")
    assert (decision["action"], decision["actor"], decision["reason"]) == ("start", "admin", "go")
    audit = await world.call("GET", "/audit")
    assert any("start" in entry["action"] and entry["actor"] == "admin" for entry in audit)
    await world.call("POST", f"/rollouts/{rollout}/fly", {}, 422)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"release": "press:1", "wave": []}, "wave"),
        ({"release": "press:9"}, "no bundle is published"),
        ({"release": "no such thing"}, "names no version"),
    ],
)
async def test_a_wrong_plan_is_explained(world, body, words):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    problem = await world.call("POST", "/fleets/plant/rollouts", body, 422)
    assert words in problem["detail"]


async def test_a_revoked_token_ends_at_once_and_no_hash_is_shown(world):
    made = await world.call("POST", "/tokens", {"name": "ci", "role": "admin"}, 201)
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await world.http.get("/api/v1/whoami", headers=headers)).json()["name"] == "ci"
    listed = await world.http.get("/api/v1/tokens", headers=headers)
    assert made["token"] not in listed.text
    assert "hash" not in listed.text
    await world.call("DELETE", f"/tokens/{made['id']}", status=204)
    assert (await world.http.get("/api/v1/whoami", headers=headers)).status_code == 401


async def test_an_expired_token_is_refused(world):
    made = await world.call("POST", "/tokens", {"name": "short", "role": "viewer", "lifetime_s": 0}, 201)
    answer = await world.http.get("/api/v1/whoami", headers={"Authorization": f"Bearer {made['token']}"})
    assert "expired" in answer.json()["detail"]


async def test_metrics_are_open_within_the_cluster_and_closed_to_proxied_strangers(world):
    assert (await world.http.get("/metrics")).status_code == 200
    forwarded = {"X-Forwarded-For": "203.0.113.9"}
    assert (await world.http.get("/metrics", headers=forwarded)).status_code == 401
    assert (await world.http.get("/metrics", headers=forwarded | world.admin)).status_code == 200


async def test_health_and_readiness(world):
    assert (await world.http.get("/healthz")).status_code == 200
    assert (await world.http.get("/readyz")).status_code == 200
    world.service.store.close()
    world.service.store.ping = broken
    assert (await world.http.get("/readyz")).status_code == 503
    assert (await world.http.get("/healthz")).status_code == 200


def broken() -> None:
    raise OSError("gone")


async def test_every_operator_route_asks_who_calls(world):
    """The door is a dependency: a route added without it must not pass unnoticed."""
    for route in operator_app(world.service).routes:
        if isinstance(route, APIRoute):
            calls = {dependency.call for dependency in flat(route.dependant)}
            assert caller.caller in calls, route.path


def flat(dependant):
    for one in dependant.dependencies:
        yield one
        yield from flat(one)
