"""A fleet learns together: real applications of devices, the real service, and what the world does to it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from acclimate.rollout.application import Service
from acclimate.rollout.domain.campaign import Campaign
from acclimate_device import Device, OnlinePolicy
from acclimate_device.federated import moments, unpacked
from acclimate_device.online.contributing import contribution
from acclimate_device.protocol import (
    CONTRIBUTION_PATH,
    ROUND_PATH,
    Contribution,
    Envelope,
    Release,
    Round,
    dumps,
    loads,
    unseal,
)
from acclimate_device.runtime import ClosedFormEngine
from acclimate_device.storage import CONTRIBUTION, ROUND, Store
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from tests.unit.rollout.api.test_tenants import Site
from tests.unit.rollout.conftest import PretendDevice, World
from tests.unit.rollout.console.test_pages import sign_in

pytestmark = pytest.mark.anyio
BUNDLE = tiny_bundle("closed-form")
OUTPUTS = 3


class Member:
    """A device with both halves: what its application knows, and how it speaks."""

    def __init__(
        self, seed: int, wire: PretendDevice, labels: int = 24, bundle: Mapping[str, bytes] = BUNDLE
    ) -> None:
        self.wire, self.flash = wire, SimulatedFlash()
        policy = OnlinePolicy(shots=16)
        self.device = Device(bundle.get, self.flash, policy, clock=lambda: 1e6)
        for x, y in list(GestureDevice(seed).examples(labels)):
            self.device.learn_one(x, y)

    @property
    def id(self) -> str:
        return self.wire.identity.device_id

    @property
    def release(self) -> Release:
        return self.device.release

    def makes(self, asked: Round) -> Contribution | None:
        active = self.device._life.active
        return contribution(active, self.device._life.learner.examples(active), asked)

    async def asked(self) -> Round | None:
        answer = await self.wire.http.get(ROUND_PATH, headers=self.wire.headers)
        if answer.status_code == 204:
            return None
        trusted = self.wire.identity.service_keys[0]
        from acclimate.rollout.api.proofs import trusting

        return unseal(loads(Envelope, answer.content, 65536), Round, trusting(trusted))

    async def gives(self, given: Contribution, status: int = 204) -> str:
        answer = await self.wire.http.post(CONTRIBUTION_PATH, content=dumps(given), headers=self.wire.headers)
        assert answer.status_code == status, answer.text
        return answer.text


def features() -> int:
    made = Device(BUNDLE.get, SimulatedFlash(), clock=lambda: 1e6)
    return int(made._life.active.running.engine.start["state.last.mean"].shape[0])


FEATURES = features()


async def fleet(world: World, devices: int, bundle: Mapping[str, bytes] = BUNDLE) -> list[Member]:
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    members = [Member(seed, await world.device("plant"), bundle=bundle) for seed in range(devices)]
    world.service.store.set_baseline("plant", "", members[0].release, 1.0, "test")
    await world.service.refresh()
    return members


async def opened(world: World, members: list[Member], **changes: object) -> Campaign:
    return await open_campaign(world, members[0].release, **changes)


async def open_campaign(world: World, release: Release, **changes: object) -> Campaign:
    now = world.service.rounds.clock()
    campaign = Campaign(
        id="campaign-1",
        fleet="plant",
        name=release.name,
        version=release.version,
        content_hash=release.content_hash,
        features=FEATURES,
        outputs=OUTPUTS,
        opened_at=now,
        closes_at=now + 3600,
        created_by="ada",
        holder=world.service.rounds.holder,
        held_at=now,
        aggregator="mean",
        clip=1000.0,
        bits=16,
        quorum=3,
    )
    campaign = replace(campaign, **changes)
    world.service.store.add_campaign(campaign, "ada")
    await world.service.rounds.refresh()
    return campaign


async def later(world: World, seconds: float) -> None:
    before = world.service.rounds.clock()
    world.service.rounds.clock = lambda: before + seconds
    await world.service.rounds.refresh()


async def test_a_campaign_ends_in_what_its_devices_know_together(world):
    members = await fleet(world, 4)
    campaign = await opened(world, members)
    for member in members:
        asked = await member.asked()
        assert asked == campaign.round()
        given = member.makes(asked)
        await member.gives(given)
        await member.gives(given)  # a lost answer: counts once
        assert await member.asked() is None
    await later(world, 3601)
    shown = await world.call("GET", "/campaigns/campaign-1")
    assert (shown["campaign"]["state"], shown["campaign"]["accepted"]) == ("done", 4)
    kept = [len(member.device._life.learner.examples(member.device._life.active)) for member in members]
    assert shown["campaign"]["tried_after"] == sum(-(-number // 4) for number in kept)
    assert 12 < shown["campaign"]["right_after"] <= shown["campaign"]["tried_after"]
    answer = await world.call("GET", "/campaigns/campaign-1/result")
    result = np.frombuffer(base64.b64decode(answer["values"]), "<f8")

    expected = []
    for member in members:
        active = member.device._life.active
        examples = member.device._life.learner.examples(active)
        x = active.schema.normalize(np.stack([one.x for one in examples]))
        engine = active.running.engine
        assert isinstance(engine, ClosedFormEngine)
        phi = engine.features(engine.start, x)["phi"]
        targets = np.eye(OUTPUTS)[[one.target for one in examples]] - 1 / OUTPUTS
        expected.append(moments(phi, targets))
    np.testing.assert_allclose(result, np.mean(expected, axis=0), atol=2.0**-16)
    assert unpacked(result, FEATURES, OUTPUTS)[0].shape == (FEATURES, FEATURES)
    actions = [one["action"] for one in await world.call("GET", "/audit")]
    assert {"campaign.start", "campaign.done"} <= set(actions)
    metrics = (await world.http.get("/metrics")).text
    assert 'acclimate_contributions_total{fleet="plant",outcome="accepted"} 4.0' in metrics


async def test_the_application_answers_what_the_agent_left_and_only_then(world):
    (member,) = await fleet(world, 1)
    campaign = await opened(world, [member], closes_at=2e6, clip=2.0)
    store = Store(member.flash)
    member.device.tick()
    assert store.read(CONTRIBUTION) is None
    store.write(ROUND, dumps(campaign.round()))
    member.device.tick()
    first = store.read(CONTRIBUTION)
    given = loads(Contribution, first, 1_000_000)
    values = np.frombuffer(given.raw, "<i4") * 2.0**-16
    assert np.linalg.norm(values) <= 2.0 + 1e-3  # clipped on the device
    member.device.tick()
    assert store.read(CONTRIBUTION) == first
    fresh = Member(9, member.wire, labels=7)
    assert fresh.makes(campaign.round()) is None  # too few labels
    assert member.makes(replace(campaign.round(), release=Release("other", 1, "a" * 64))) is None
    assert member.makes(replace(campaign.round(), numbers=7)) is None


async def test_what_is_wrong_is_refused_counted_and_flags_its_device(world):
    members = await fleet(world, 3)
    campaign = await opened(world, members, clip=2.0)
    liar, honest, _ = members
    good = honest.makes(campaign.round())
    assert good is not None
    large = np.full(campaign.numbers, 2**20, "<i4").tobytes()
    assert "above the clip" in await liar.gives(Contribution.of("campaign-1", large), 422)
    short = Contribution.of("campaign-1", large[:-4])
    assert "numbers" in await liar.gives(short, 422)
    assert "2 right of 1" in await liar.gives(replace(good, right=2, tried=1), 422)
    assert await liar.asked() is None
    await liar.gives(good, 403)  # flagged
    await honest.gives(replace(good, round="campaign-0"), 409)  # unsolicited
    await honest.gives(good)
    found = await world.call("GET", "/campaigns/campaign-1/contributors")
    told = {one["contributor"]["device"]: one for one in found if one["contributor"]["refusals"]}
    assert told[liar.id]["flagged"]
    assert told[liar.id]["contributor"]["refusals"] == 3
    assert not told[honest.id]["flagged"]
    assert (await world.http.post(CONTRIBUTION_PATH, content=dumps(good))).status_code == 401
    answer = await world.http.post(CONTRIBUTION_PATH, content=b"{}", headers=honest.wire.headers)
    assert answer.status_code == 400


async def test_a_missed_quorum_voids_and_spends_nothing(world):
    members = await fleet(world, 2)
    campaign = await opened(world, members, noise=2.0)
    given = members[0].makes(campaign.round())
    await members[0].gives(given)
    await later(world, 3601)
    shown = await world.call("GET", "/campaigns/campaign-1")
    assert shown["campaign"]["state"] == "void"
    assert shown["epsilon"] > 0
    assert shown["spent"] == 0
    await world.call("GET", "/campaigns/campaign-1/result", status=409)
    await members[1].gives(given, 409)  # late, which is no fault
    assert not await world.call("GET", "/campaigns/campaign-1/contributors") or all(
        not one["flagged"] for one in await world.call("GET", "/campaigns/campaign-1/contributors")
    )


async def test_a_service_that_is_killed_leaves_a_void_campaign(world):
    members = await fleet(world, 3)
    campaign = await opened(world, members)
    await members[0].gives(members[0].makes(campaign.round()))
    old = world.service
    again = Service(old.settings, old.store, old.state._key)
    await again.rounds.refresh()
    assert old.store.campaign("campaign-1").state == "open"  # its holder spoke a moment ago
    again.rounds.clock = lambda: old.rounds.clock() + 31
    await again.rounds.refresh()
    assert old.store.campaign("campaign-1").state == "void"
    for reason in ("one", "two", "three"):
        old.store.refuse_contribution("plant", members[0].id, "campaign-1", reason)
    other = Service(old.settings, old.store, old.state._key)
    await opened(world, members, id="campaign-2", holder=other.rounds.holder)
    await other.rounds.refresh()
    release = members[0].release
    assert other.rounds.asked("plant", members[0].id, release) is None  # flagged, whoever found it out
    assert other.rounds.asked("plant", members[1].id, release).id == "campaign-2"
    assert old.store.campaign_result("campaign-1") is None


async def test_noise_hides_a_device_and_a_robust_mean_bounds_one(world):
    members = await fleet(world, 5)
    campaign = await opened(world, members, noise=1.0, clip=2.0)
    for member in members:
        await member.gives(member.makes(campaign.round()))
    await later(world, 3601)
    noised = np.frombuffer(world.service.store.campaign_result("campaign-1"), "<f8")
    robust = await opened(world, members, id="campaign-2", aggregator="trimmed-mean", clip=2.0)
    for member in members:
        await member.gives(member.makes(robust.round()))
    await later(world, 3601)
    plain = np.frombuffer(world.service.store.campaign_result("campaign-2"), "<f8")
    spread = float(np.std(noised - plain * 5 / 3))
    assert 0.3 < spread < 1.5  # 1.0 * 2.0 / 3, and what the aggregators differ by


async def test_paused_asks_nobody_and_stopped_takes_nothing(world):
    members = await fleet(world, 3)
    campaign = await opened(world, members)
    given = members[0].makes(campaign.round())
    await world.call("POST", "/campaigns/campaign-1/pause", {"reason": "a holiday"})
    assert await members[0].asked() is None
    await members[0].gives(given)  # it was under way
    await world.call("POST", "/campaigns/campaign-1/resume", {})
    assert await members[1].asked() is not None
    await world.call("POST", "/campaigns/campaign-1/stop", {})
    await members[1].gives(given, 409)
    await world.call("POST", "/campaigns/campaign-1/pause", {}, status=409)
    assert not world.service.rounds._held


async def test_who_may_open_and_see_one(world, tmp_path):
    for name in ("ours", "theirs"):
        await world.call("POST", "/fleets", {"name": name}, 201)
    Site(world, tmp_path).publish("our-model")
    body = {"release": "our-model:1", "features": 10, "outputs": 3}
    refused = await world.call("POST", "/fleets/ours/campaigns", body | {"noise": 1.0}, 422)
    assert "protects nobody" in refused["detail"]
    private = body | {"noise": 1.0, "aggregator": "mean", "epsilon": 1.0}
    assert "above the cap" in (await world.call("POST", "/fleets/ours/campaigns", private, 422))["detail"]
    nothing = private | {"noise": 1e-300}
    assert "epsilon inf" in (await world.call("POST", "/fleets/ours/campaigns", nothing, 422))["detail"]
    hidden = body | {"secure": True, "aggregator": "trimmed-mean"}
    assert "which secure hides" in (await world.call("POST", "/fleets/ours/campaigns", hidden, 422))["detail"]
    masked = body | {"secure": True, "aggregator": "mean", "clip": 60.0, "noise": 1e6}
    assert "32 bits" in (await world.call("POST", "/fleets/ours/campaigns", masked, 422))["detail"]
    world.service.rounds.cap = 2.0
    assert "the cap over all" in (await world.call("POST", "/fleets/ours/campaigns", body, 422))["detail"]
    world.service.rounds.cap = 0.0
    for shape in ({"features": None}, {"parameters": 7}):
        await world.call("POST", "/fleets/ours/campaigns", body | shape, 422)
    wide = body | {"features": 900}
    assert "narrower" in (await world.call("POST", "/fleets/ours/campaigns", wide, 422))["detail"]
    made = await world.call("POST", "/fleets/ours/campaigns", body, 201)
    name = made["campaign"]["id"]
    await world.call("POST", "/fleets/ours/campaigns", body, 409)  # one at a time
    viewer, stranger = await world.operator("viewer", "ours"), await world.operator("admin", "theirs")
    for method, path, headers, status in (
        ("GET", f"/campaigns/{name}", viewer, 200),
        ("GET", f"/campaigns/{name}/result", viewer, 403),
        ("POST", f"/campaigns/{name}/stop", viewer, 403),
        ("GET", f"/campaigns/{name}", stranger, 404),
        ("GET", f"/campaigns/{name}/contributors", stranger, 404),
        ("POST", f"/campaigns/{name}/stop", stranger, 404),
        ("POST", "/fleets/ours/campaigns", stranger, 404),
    ):
        answer = await world.http.request(
            method, f"/api/v1{path}", json=body if path.endswith("campaigns") else {}, headers=headers
        )
        assert answer.status_code == status, (path, answer.text)
    seen = await world.http.get("/api/v1/campaigns", headers=stranger)
    assert seen.json() == []


async def test_two_devices_at_once_and_a_refresh_between(world):
    members = await fleet(world, 4)
    campaign = await opened(world, members)
    given = [member.makes(campaign.round()) for member in members]
    work = [member.gives(one) for member, one in zip(members, given, strict=True)]
    await asyncio.gather(*work, world.service.rounds.refresh(), world.service.rounds.refresh())
    await later(world, 3601)
    assert world.service.store.campaign("campaign-1").accepted == 4


async def test_the_console_shows_who_took_part_and_what_it_cost(world):
    members = await fleet(world, 3)
    await sign_in(world)
    assert "No campaign yet" in (await world.http.get("/console/campaigns")).text
    campaign = await opened(world, members, noise=2.0, clip=2.0)
    await members[0].gives(members[0].makes(campaign.round()))
    await members[1].gives(Contribution.of("campaign-1", b"1234"), 422)
    await later(world, 1)
    page = (await world.http.get("/console/campaigns/campaign-1")).text
    assert members[1].id in page
    assert "fewer than 300" in page
    assert "1 <small>of 3 devices, 3 are needed" in page
    assert campaign.name in (await world.http.get("/console/campaigns")).text
    assert (await world.http.get("/console/campaigns/absent")).status_code == 404


async def test_a_device_spends_no_more_than_the_cap_over_all_campaigns(world):
    members = await fleet(world, 4)
    world.service.rounds.cap = 2.5
    spends = {"noise": 2.0, "clip": 2.0}  # epsilon 2.0 once and 2.9 twice
    first = await opened(world, members, **spends)
    for member in members[:3]:
        await member.gives(member.makes(first.round()))
    await later(world, 3601)
    second = await opened(world, members, id="campaign-2", **spends)
    assert await members[0].asked() is None
    assert "over all campaigns" in await members[0].gives(members[0].makes(second.round()), 409)
    assert await members[3].asked() is not None
    told = await world.call("GET", "/campaigns/campaign-1/contributors")
    assert {round(one["spent"], 2) for one in told} == {round(first.epsilon, 2)}
    await world.call("POST", "/campaigns/campaign-2/stop", {})  # spends nothing
    again = Service(world.service.settings, world.service.store, world.service.state._key)
    again.rounds.cap, again.rounds.clock = 3.5, world.service.rounds.clock
    third = await opened(world, members, id="campaign-3", holder=again.rounds.holder, **spends)
    await again.rounds.refresh()
    assert again.rounds.asked("plant", members[0].id, members[0].release) == third


@pytest.mark.parametrize("again", [True, False], ids=["sent again", "not sent again"])
async def test_what_a_device_spends_is_accounted_though_the_store_failed(world, monkeypatch, again: bool):
    """The contribution is in the sum; the answer to the device was an error."""
    members = await fleet(world, 3)
    campaign = await opened(world, members, noise=2.0, clip=2.0)
    for member in members[:2]:
        await member.gives(member.makes(campaign.round()))
    store, left = world.service.store, [1]
    accept = type(store).accept_contribution

    def failing(*given: object) -> None:
        if left[0]:
            left[0] -= 1
            raise OperationalError("insert", {}, Exception("the disk is full"))
        accept(store, *given)

    monkeypatch.setattr(store, "accept_contribution", failing)
    await members[2].gives(members[2].makes(campaign.round()), 503)
    if again:
        await members[2].gives(members[2].makes(campaign.round()))
    await later(world, 3601)
    told = await world.call("GET", "/campaigns/campaign-1/contributors")
    assert {one["contributor"]["device"] for one in told} == {member.id for member in members}
    assert {round(one["spent"], 2) for one in told} == {round(campaign.epsilon, 2)}
