"""What clients got through that they should not have: each once, at the border where it came in."""

import sqlite3
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import OperationalError

from acclimate.rollout import operations
from acclimate.rollout.api.limits import RateLimit
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.evidence import Decision
from acclimate_device.protocol import (
    ENROLMENT_PATH,
    REPORT_PATH,
    REPOSITORY_PATH,
    STATE_PATH,
    TOKEN_PATH,
    ReportBatch,
    dumps,
)
from tests.support.rollout_samples import NEW, NOW, OLD, a_plan, a_rollout
from tests.unit.rollout.api.test_device_side import report
from tests.unit.rollout.conftest import PretendDevice
from tests.unit.rollout.console.test_pages import csrf_of, sign_in

pytestmark = pytest.mark.anyio


async def fleet(world, name="plant"):
    await world.call("POST", "/fleets", {"name": name}, 201)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/fleets/plant/enrolment-tokens", {"quota": True}),
        ("/fleets", {"name": "other", "device_quota": False}),
        ("/fleets/plant/rollouts", {"release": "a:1", "alpha": True}),
        ("/fleets/plant/rollouts", {"release": "a:1", "waves": [{"share": True}]}),
        ("/fleets/plant/rollouts", {"release": "a:1", "min_examples": True}),
    ],
)
async def test_true_is_no_number(world, path, body):
    await fleet(world)
    answer = await world.call("POST", path, body, 422)
    assert "another kind of value is expected" in answer["detail"]


@pytest.mark.parametrize("quota", ["199999999999", "9" * 400, "٣", "-1", "1e3", "true"])
async def test_a_quota_that_is_no_usable_number_is_asked_for_again(world, quota):
    await fleet(world)
    await sign_in(world)
    form = {"csrf": csrf_of((await world.http.get("/console/fleets/plant/enrolment")).text), "days": "7"}
    answer = await world.http.post("/console/fleets/plant/enrolment", data=form | {"quota": quota})
    assert (answer.status_code, "Say how many devices may enrol" in answer.text) == (200, True)


async def test_numbers_without_end_in_addresses_and_headers_are_no_defects(world):
    await fleet(world)
    await sign_in(world)
    assert (await world.http.get(f"/console/audit?before={10**20}")).status_code == 200
    device = await world.device("plant")
    folder = world.service.settings.tuf / "metadata"
    folder.mkdir(parents=True)
    (folder / "timestamp.json").write_bytes(b"{}")
    headers = device.headers | {"Range": f"bytes={'9' * 5000}-"}
    answer = await world.http.get(f"{REPOSITORY_PATH}/metadata/timestamp.json", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"{}")
    answer = await world.http.post(REPORT_PATH, headers=device.headers | {"Content-Length": "9" * 5000})
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize("name", ["-a-", "a-", "-a", "A", "a" * 64, "a\n", "ａ"])
async def test_console_and_rest_interface_take_the_same_names(world, name):
    await sign_in(world)
    form = {"csrf": csrf_of((await world.http.get("/console/new-fleet")).text), "name": name}
    shown = await world.http.post("/console/new-fleet", data=form)
    taken = shown.status_code == 303
    assert not taken or name.strip() == "a"
    await world.call("POST", "/fleets", {"name": name}, 422)


async def test_what_a_name_may_hold_is_told_in_words_and_where_to_look_in_commands(world):
    wrong = await world.call("POST", "/fleets", {"name": "Bad Name"}, 422)
    assert wrong["detail"] == (
        "body/name: 'Bad Name' does not fit: a fleet's name has at most 63 lower-case letters and digits, "
        "and hyphens between them"
    )
    assert "digits, and . _ : -" in (await world.call("GET", "/rollouts/a%20b", None, 422))["detail"]
    missing = await world.call("GET", "/fleets/plant/devices/nobody", None, 404)
    assert missing["detail"].endswith("list them with: acclimate device list plant")
    missing = await world.call("DELETE", "/tokens/none", None, 404)
    assert missing["detail"].endswith("list them with: acclimate token list")
    missing = await world.call("DELETE", "/fleets/plant/enrolment-tokens/none", None, 404)
    assert missing["detail"].endswith("list them with: acclimate fleet tokens plant")


async def test_pages_of_what_names_nothing_are_not_found(world):
    await sign_in(world)
    for path in ("/fleets/a%00b", "/rollouts/%ff", "/fleets/plant/devices/%00", "/rollouts/" + "r" * 300):
        answer = await world.http.get(f"/console{path}")
        assert answer.status_code == 404, path


async def test_no_redirect_leads_where_the_host_header_says(world):
    evil = {"Host": "evil.example"}
    for path in ("/console", "/api/v1/fleets/", "/healthz/", "/console/fleets/", "/api"):
        answer = await world.http.get(path, headers=evil | world.admin)
        assert "evil.example" not in answer.headers.get("location", ""), path


async def test_wrong_verbs_are_answered_as_such_everywhere(world):
    await sign_in(world)
    paths = ["/healthz", "/readyz", "/metrics", "/", "/console/", "/console/login", "/console/logout"]
    paths += [ENROLMENT_PATH, TOKEN_PATH, STATE_PATH, REPORT_PATH, f"{REPOSITORY_PATH}/metadata/x.json"]
    paths += ["/api/v1/fleets", "/api/v1/whoami", "/api/v1/rollouts"]
    for path in paths:
        for method in ("PATCH", "TRACE", "BREW"):
            answer = await world.http.request(method, path, headers=world.admin)
            assert answer.status_code == 405, (method, path, answer.status_code)
            assert answer.headers.get("allow"), (method, path)


async def test_a_full_disk_is_called_a_full_disk(world, monkeypatch):
    await fleet(world)
    device = await world.device("plant")
    full = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    def fails(*given, **more):
        raise full

    monkeypatch.setattr(world.service.store, "add_reports", fails)
    monkeypatch.setattr(world.service.store, "add_fleet", fails)
    answer = await world.http.post(
        REPORT_PATH, content=dumps(ReportBatch((report(),))), headers=device.headers
    )
    assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (503, True)
    answer = await world.call("POST", "/fleets", {"name": "other"}, 503)
    assert "disk is full" in answer["detail"]


async def test_a_retired_device_comes_back_with_a_new_token_and_not_with_the_old(world):
    await fleet(world)
    made = await world.call("POST", "/fleets/plant/enrolment-tokens", {"quota": 2}, 201)
    device = PretendDevice(world.http, Ed25519PrivateKey.generate())
    await device.enrol(made["token"], {})
    await device.renew()
    identity, old_bearer = device.identity.device_id, device.headers
    await world.call("POST", f"/fleets/plant/devices/{identity}/retire", {})
    assert (await device.poll()).status_code == 403
    await device.enrol(made["token"], {}, status=403)
    fresh = await world.call("POST", "/fleets/plant/enrolment-tokens", {}, 201)
    await device.enrol(fresh["token"], {"site": "B"})
    assert device.identity.device_id == identity
    assert (await world.http.get(STATE_PATH, headers=old_bearer)).status_code == 401
    await device.renew()
    assert (await device.desired()).device_id == identity
    shown = await world.call("GET", f"/fleets/plant/devices/{identity}")
    assert (shown["retired_at"], shown["attributes"]) == (None, {"site": "B"})


async def test_an_address_that_fails_keeps_no_honest_device_behind_it_out(world):
    await fleet(world)
    made = await world.call("POST", "/fleets/plant/enrolment-tokens", {"quota": 5}, 201)
    known = await world.device("plant")
    world.service.devices._anonymous = RateLimit(0.001, 3, lambda: 0.0)
    stranger = PretendDevice(world.http, Ed25519PrivateKey.generate())
    for attempt in range(6):
        await stranger.enrol(f"ace_guess{attempt}", {}, status=403 if attempt < 3 else 429)
    await known.renew()
    newcomer = PretendDevice(world.http, Ed25519PrivateKey.generate())
    await newcomer.enrol(made["token"], {})
    await newcomer.renew()
    for _ in range(20):  # success costs the address nothing
        await known.renew()


async def test_a_release_that_its_gates_rolled_back_is_not_shipped_again_by_accident(world):
    await fleet(world, "home")
    store = world.service.store
    store.set_baseline("home", "", OLD, NOW, "ada")
    store.add_rollout(a_rollout(), "ada")

    def step(action, what):
        decision = Decision("rollout-1", NOW, action, "loss is higher", "controller", 1)
        store.step_rollout("rollout-1", what, decision)

    step("start", lambda one, _: life.start(one, NOW))
    step("open_wave", lambda one, revision: life.open_wave(one, NOW, revision, 0.2, 0.2))
    step("roll_back", lambda one, revision: life.roll_back(one, NOW, revision))
    step("rolled_back", lambda one, _: life.rolled_back(one, NOW))
    with pytest.raises(Exception, match="was rolled back by its gates in rollout rollout-1"):
        operations.draft(store, a_plan(), "ada", NOW)
    again = operations.draft(store, a_plan(), "ada", NOW, despite_harm=True)
    assert again.plan.release == NEW
    other = replace(a_plan(), release=replace(NEW, version=3))
    assert operations.draft(store, other, "ada", NOW).plan.release.version == 3
