import gzip
import json
import secrets
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate.rollout.api.limits import RateLimit
from acclimate_device.protocol import (
    KEY_PATH,
    LIMITS,
    REPORT_PATH,
    REPOSITORY_PATH,
    STATE_PATH,
    TOKEN_PATH,
    KeyChange,
    PublicKey,
    Release,
    Report,
    ReportBatch,
    Summary,
    countersigned,
    dumps,
    seal,
    sign_request,
)
from tests.unit.rollout.conftest import PretendDevice, running

pytestmark = pytest.mark.anyio
RELEASE = Release("press", 1, "a" * 64)


def report(**changes) -> Report:
    given = {"id": secrets.token_hex(16), "started_at": 1.0, "ended_at": 2.0, "release": RELEASE}
    given |= {"counter": 1, "slot": "a", "adapted_loss": Summary(10, 5.0, 3.0, 1.0), "drifts": 1}
    return Report(**given | changes)


async def test_a_device_enrols_polls_and_reports(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant", site="A", memory_mb=64)
    state = await device.desired()
    assert (state.device_id, state.fleet, state.action) == (device.identity.device_id, "plant", "hold")

    world.service.store.set_baseline("plant", "", RELEASE, 1.0, "test")
    await world.service.refresh()
    newer = await device.desired()
    assert (newer.action, newer.release) == ("run", RELEASE)
    assert newer.counter > state.counter

    batch = ReportBatch((report(), report()))
    for _ in range(2):  # sent twice, counted once
        answer = await device.http.post(REPORT_PATH, content=dumps(batch), headers=device.headers)
        assert answer.json()["accepted"] == [one.id for one in batch.reports]
    (counts,) = await world.call("GET", "/fleets/plant/counts")
    assert (counts["reports"], counts["adapted_loss_sum"], counts["drifts"]) == (2, 10.0, 2)
    shown = await world.call("GET", f"/fleets/plant/devices/{device.identity.device_id}")
    assert shown["running"] == {"name": "press", "version": 1, "content_hash": "a" * 64}
    assert shown["attributes"] == {"site": "A", "memory_mb": 64}
    metrics = (await world.http.get("/metrics")).text
    assert 'acclimate_reports_total{fleet="plant",model="press",version="1"} 2.0' in metrics
    assert 'acclimate_polls_total{fleet="plant",outcome="changed"} 2.0' in metrics
    assert device.identity.device_id not in metrics


async def test_a_poll_costs_no_database_and_no_body_while_nothing_changes(world, monkeypatch):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")

    async def nothing(*arguments):
        raise AssertionError("the poll left the event loop")

    monkeypatch.setattr("anyio.to_thread.run_sync", nothing)
    first = await device.poll()
    again = await device.poll(first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert (await device.poll()).content == first.content
    tag = first.headers["etag"]
    for known, status in (
        (f"W/{tag}", 304),
        (f'"other", {tag}', 304),
        (tag[1:-1], 200),
        (f'"x{tag[1:]}', 200),
    ):
        assert (await device.poll(known)).status_code == status


async def test_what_was_told_is_kept_for_as_many_devices_as_there_are_and_of_no_old_token(world):
    state = world.service.state
    state._max_cached = 1
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    devices = [await world.device("plant") for _ in range(4)]
    for _ in range(2):
        for device in devices:
            await device.renew()
            await device.poll()
    assert list(state._current) == [device.headers["Authorization"].encode() for device in devices]


async def test_a_device_that_holds_the_latest_is_still_told_whatever_else_comes(world, monkeypatch):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    await world.call("POST", "/fleets", {"name": "other"}, 201)
    device, neighbour = await world.device("plant"), await world.device("plant")

    async def statuses() -> list[int]:
        tag = (await device.poll()).headers["etag"]
        return [(await device.poll(tag)).status_code for _ in range(2)]

    assert await statuses() == [304, 304]
    tag = (await device.poll()).headers["etag"]
    await world.call("PATCH", "/fleets/plant", {"poll_interval_s": 77})
    assert (await device.poll(tag)).status_code == 200
    assert await statuses() == [304, 304]
    gatekeeper = world.service.gatekeeper
    monkeypatch.setattr(gatekeeper, "clock", lambda: time.time() + 365 * 86_400)
    assert (await device.poll(tag)).status_code == 401
    monkeypatch.undo()
    tag = (await device.poll()).headers["etag"]
    monkeypatch.setattr(gatekeeper, "limit", RateLimit(1e-6, 2, time.monotonic))
    assert [(await device.poll(tag)).status_code for _ in range(4)] == [304, 304, 429, 429]
    assert (await neighbour.poll(tag)).status_code != 429
    monkeypatch.undo()
    await world.call("POST", f"/fleets/plant/devices/{device.identity.device_id}/retire")
    assert (await device.poll(tag)).status_code in (401, 403)


async def test_what_is_said_under_one_counter_never_changes(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")
    first = await device.desired()
    await world.call("PATCH", "/fleets/plant", {"device_quota": 5})
    assert await device.desired() == first
    await world.call("PATCH", "/fleets/plant", {"poll_interval_s": 7})
    changed = await device.desired()
    assert changed.poll_s == 7
    assert changed.counter > first.counter


async def test_a_token_enrols_its_quota_and_no_more(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    made = await world.call("POST", "/fleets/plant/enrolment-tokens", {"quota": 1}, 201)
    first = PretendDevice(world.http, Ed25519PrivateKey.generate())
    await first.enrol(made["token"], {})
    identity = first.identity
    await first.enrol(made["token"], {})  # the answer was lost: the same again
    assert first.identity == identity
    second = PretendDevice(world.http, Ed25519PrivateKey.generate())
    refusal = await second.enrol(made["token"], {}, 403)
    assert refusal.json()["type"] == "urn:acclimate:problem:enrolment-refused"
    (kept,) = await world.call("GET", "/fleets/plant/enrolment-tokens")
    assert (kept["used"], kept["token"]) == (1, None)


async def test_a_retired_device_is_told_so_and_its_tokens_end(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")
    await world.call("POST", f"/fleets/plant/devices/{device.identity.device_id}/retire")
    for answer in (await device.poll(), await device.renew(403)):
        assert answer.json()["type"] == "urn:acclimate:problem:device-retired"
        assert answer.status_code == 403


async def test_a_device_changes_its_key_with_both_keys_signatures(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device, other = await world.device("plant"), await world.device("plant")
    old, new = device.secret, Ed25519PrivateKey.generate()

    def change(to: Ed25519PrivateKey, *signers: Ed25519PrivateKey) -> bytes:
        known = device.identity
        to_id = PublicKey.of(to.public_key().public_bytes_raw())
        audience = known.service_keys[0].key_id
        message = KeyChange(known.device_id, audience, time.time(), secrets.token_hex(16), to_id)
        envelope = replace(seal(message, old.sign, ""), signatures=())
        for one in signers:
            key_id = PublicKey.of(one.public_key().public_bytes_raw()).key_id
            envelope = countersigned(envelope, one.sign, key_id)
        return dumps(envelope)

    for signers in ((old,), (new,), (other.secret, new)):
        answer = await world.http.post(KEY_PATH, content=change(new, *signers))
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:acclimate:problem:signature-invalid")
    taken = change(other.secret, old, other.secret)
    assert (await world.http.post(KEY_PATH, content=taken)).status_code == 403
    body = change(new, old, new)
    assert (await world.http.post(KEY_PATH, content=body)).status_code == 204
    assert (await device.poll()).status_code == 401, "bearer tokens of the old key end"
    await device.renew(401)
    assert (await world.http.post(KEY_PATH, content=change(new, old, new))).status_code == 204, "asked again"
    device.secret = new
    await device.renew()
    assert (await device.poll()).status_code == 200
    thief = PretendDevice(world.http, old)
    made = await world.call("POST", "/fleets/plant/enrolment-tokens", {}, 201)
    await thief.enrol(made["token"], {}, 403)


async def test_a_proof_works_once(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")
    proof = device.token_request()
    assert (await world.http.post(TOKEN_PATH, content=proof)).status_code == 200
    again = await world.http.post(TOKEN_PATH, content=proof)
    assert (again.status_code, again.json()["type"]) == (401, "urn:acclimate:problem:nonce-reused")
    async with running(world.service.settings) as other:  # another replica, or this one after a restart
        again = await other.http.post(TOKEN_PATH, content=proof)
    assert (again.status_code, again.json()["type"]) == (401, "urn:acclimate:problem:nonce-reused")
    stale = await world.http.post(TOKEN_PATH, content=device.token_request(issued_at=1.0))
    assert stale.json()["type"] == "urn:acclimate:problem:clock-skew"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x.y", "Bearer " + "é" * 10, "Basic abc", "Acclimate a;²;;é"]
)
async def test_nobody_polls_reports_or_downloads_without_a_token(world, header):
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    for method, path in [
        ("GET", STATE_PATH),
        ("POST", REPORT_PATH),
        ("GET", REPOSITORY_PATH + "/metadata/timestamp.json"),
        ("GET", REPOSITORY_PATH + "/targets/press/1/x"),
    ]:
        answer = await world.http.request(method, path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert "bearer" in answer.headers["www-authenticate"].lower()


async def test_a_device_may_sign_a_request_which_then_is_worth_that_one_alone(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")
    known, other = device.identity, await world.device("plant")

    def signed(method: str, path: str, body: bytes = b"", age_s: float = 0.0, **of: object) -> dict[str, str]:
        given = {
            "device": known.device_id,
            "audience": known.service_keys[0].key_id,
            "sign": device.secret.sign,
        }
        given |= of
        now = time.time() - age_s
        header = sign_request(given["device"], given["audience"], now, method, path, body, given["sign"])
        return {"Authorization": header}

    async def asked(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> str:
        answer = await world.http.request(method, path, headers=headers, content=body)
        if answer.is_success:
            return "taken"
        assert answer.status_code in (401, 403)
        return answer.json()["type"].rpartition(":")[2]

    poll, body = signed("GET", STATE_PATH), dumps(ReportBatch((report(),)))
    sent = signed("POST", REPORT_PATH, body)
    for _ in range(2):  # whoever repeats a request changes nothing
        assert await asked("GET", STATE_PATH, poll) == "taken"
        assert await asked("POST", REPORT_PATH, sent, body) == "taken"
    (counts,) = await world.call("GET", "/fleets/plant/counts")
    assert counts["reports"] == 1
    metadata = REPOSITORY_PATH + "/metadata/timestamp.json"
    invalid = [
        ("POST", REPORT_PATH, sent, dumps(ReportBatch((report(),)))),
        ("POST", REPORT_PATH, sent, b""),
        ("POST", REPORT_PATH, poll, body),
        ("GET", metadata, poll, b""),
        ("GET", STATE_PATH, signed("GET", STATE_PATH, audience="0" * 64), b""),
        ("GET", STATE_PATH, signed("GET", STATE_PATH, sign=other.secret.sign), b""),
        ("GET", STATE_PATH, signed("GET", STATE_PATH, device=other.identity.device_id), b""),
        ("GET", STATE_PATH, signed("GET", STATE_PATH, device="nobody"), b""),
        ("GET", STATE_PATH, {"Authorization": poll["Authorization"][:-8] + "A" * 8}, b""),
    ]
    for method, path, headers, content in invalid:
        assert await asked(method, path, headers, content) == "signature-invalid", (method, path, headers)
    for age_s in (LIMITS.token_s + 9, -LIMITS.clock_skew_s - 9):
        assert await asked("GET", STATE_PATH, signed("GET", STATE_PATH, age_s=age_s)) == "clock-skew"
    await world.call("POST", f"/fleets/plant/devices/{known.device_id}/retire")
    assert await asked("GET", STATE_PATH, poll) == "device-retired"


async def test_reports_may_be_packed_but_not_without_bound(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")
    headers = device.headers | {"Content-Encoding": "gzip"}
    body = dumps(ReportBatch((report(),)))
    answer = await world.http.post(REPORT_PATH, content=gzip.compress(body), headers=headers)
    assert len(answer.json()["accepted"]) == 1
    bomb = gzip.compress(b" " * (LIMITS.batch_bytes * 100))
    assert (await world.http.post(REPORT_PATH, content=bomb, headers=headers)).status_code == 413
    cut = gzip.compress(body)[:-9]
    for damaged in (b"no gzip", cut):
        assert (await world.http.post(REPORT_PATH, content=damaged, headers=headers)).status_code == 400


async def test_a_report_that_can_never_be_taken_is_refused_by_name(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")
    good, bad = report(), report(started_at=5.0)
    answer = await world.http.post(
        REPORT_PATH, content=dumps(ReportBatch((good, bad))), headers=device.headers
    )
    assert answer.json()["accepted"] == [good.id]
    assert answer.json()["refused"][0]["id"] == bad.id


async def test_nothing_is_acknowledged_that_was_not_stored(world, monkeypatch):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")

    def broken(reports):
        raise OSError("disk full")

    monkeypatch.setattr(world.service.store, "add_reports", broken)
    body = dumps(ReportBatch((report(),)))
    answer = await world.http.post(REPORT_PATH, content=body, headers=device.headers)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    monkeypatch.undo()
    assert (await world.http.post(REPORT_PATH, content=body, headers=device.headers)).status_code == 200


@pytest.mark.parametrize("text", ["a\\u0000b", "\\ud800"])
async def test_text_that_no_database_keeps_is_refused_and_the_rest_taken(world, text):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    device = await world.device("plant")
    bad, good = report(), report()
    value = json.loads(dumps(ReportBatch((bad, good))))
    value["reports"][0]["events"] = [{"at": 1.0, "kind": "drift", "source": "x"}]
    body = json.dumps(value).replace('"x"', f'"{text}"').encode()
    answer = await world.http.post(REPORT_PATH, content=body, headers=device.headers)
    assert (answer.status_code, answer.json()["accepted"]) == (200, [good.id])
    [refused] = answer.json()["refused"]
    assert refused["id"] == bad.id
    assert "events[0].source: holds NUL or half a surrogate pair" in refused["detail"]


async def test_bundles_are_served_to_the_fleet_that_runs_them_alone(world):
    settings = world.service.settings
    folder = settings.tuf / "targets" / "press" / "1"
    folder.mkdir(parents=True)
    (folder / "abc.params").write_bytes(b"weights")
    (settings.tuf / "metadata").mkdir()
    (settings.tuf / "metadata" / "timestamp.json").write_bytes(b"{}")
    for name in ("plant", "rival"):
        await world.call("POST", "/fleets", {"name": name}, 201)
    ours, theirs = await world.device("plant"), await world.device("rival")
    world.service.store.set_baseline("plant", "", RELEASE, 1.0, "test")
    await world.service.refresh()
    path = REPOSITORY_PATH + "/targets/press/1/abc.params"
    answer = await world.http.get(path, headers=ours.headers | {"Range": "bytes=3-"})
    assert (answer.status_code, answer.content) == (206, b"ghts")
    assert (await world.http.get(path, headers=theirs.headers)).status_code == 404
    metadata = await world.http.get(REPOSITORY_PATH + "/metadata/timestamp.json", headers=theirs.headers)
    assert metadata.content == b"{}"
