"""Real agents take their turns at the real service, which learns the sum and nothing else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acclimate.rollout.application import Service
from acclimate.rollout.domain.campaign import Campaign
from acclimate_device import Device
from acclimate_device.agent import Agent, Response
from acclimate_device.online.contributing import contribution
from acclimate_device.protocol import DEALING_PATH, JOINING_PATH, Contribution, Dealing, dumps
from acclimate_device.storage import CONTRIBUTED, CONTRIBUTION, ROUND, Store
from acclimate_device.testing import GestureDevice, SimulatedFlash
from tests.unit.rollout.api.test_campaigns import BUNDLE, FEATURES, OUTPUTS, later, open_campaign
from tests.unit.rollout.conftest import World
from tests.unit.rollout.console.test_pages import sign_in

pytestmark = pytest.mark.anyio
NUMBERS = FEATURES * (FEATURES + 1) // 2 + FEATURES * OUTPUTS


class Wire:
    """The agent's `Transport`, from its thread to the service in this loop; keeps what passes."""

    def __init__(self, world: World) -> None:
        self._http, self._loop = world.http, asyncio.get_running_loop()
        self.sent: list[tuple[str, bytes]] = []

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        self.sent.append((path, body or b""))
        asked = self._http.request(method, path, headers=dict(headers), content=body)
        answer = asyncio.run_coroutine_threadsafe(asked, self._loop).result(60)
        assert len(answer.content) <= max_bytes
        return Response(answer.status_code, dict(answer.headers), answer.content)


class Member:
    """Both halves of a device, on one flash."""

    def __init__(self, world: World, seed: int, folder: Path, **options: Any) -> None:
        self.wire, self.flash, self.folder = Wire(world), SimulatedFlash(), folder / str(seed)
        self.device = Device(BUNDLE.get, self.flash, clock=lambda: 1e6)
        for x, y in GestureDevice(seed).examples(24):
            self.device.learn_one(x, y)
        self.options = {"contribute": True, **options}
        self.restart()

    def restart(self) -> None:
        self.agent = Agent(self.wire, self.flash, b"", self.folder, **self.options)

    async def enrol(self, world: World) -> None:
        made = await world.call("POST", "/fleets/plant/enrolment-tokens", {}, 201)
        await asyncio.to_thread(self.agent.service.enrol, made["token"], "", {}, "")

    @property
    def id(self) -> str:
        return self.agent.service.enrolled().device_id

    async def turn(self) -> None:
        await asyncio.to_thread(self.agent.contribute)
        self.device.tick()

    def gives(self, campaign: Campaign) -> np.ndarray:
        """What it would give unmasked."""
        active = self.device._life.active
        given = contribution(active, self.device._life.learner.examples(active), campaign.round())
        assert given is not None
        return np.frombuffer(given.raw, "<i4")

    def record(self, name: str) -> bytes | None:
        return Store(self.flash).read(name)


async def fleet(world: World, folder: Path, devices: int) -> list[Member]:
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    members = [Member(world, seed, folder) for seed in range(devices)]
    for member in members:
        await member.enrol(world)
    world.service.store.set_baseline("plant", "", members[0].device.release, 1.0, "test")
    await world.service.refresh()
    return members


async def opened(world: World, members: list[Member], **changes: object) -> Campaign:
    hidden = {"bits": 20, "clip": 2.0, "secure": True}
    return await open_campaign(world, members[0].device.release, **(hidden | changes))


async def all_turn(members: list[Member]) -> None:
    for member in members:
        await member.turn()


async def dealt(world: World, members: list[Member]) -> None:
    """As far as everybody has joined and dealt shares."""
    await all_turn(members)  # told, and answered by the application
    await all_turn(members)  # joined
    await later(world, 1500)
    await all_turn(members)
    await world.service.rounds.refresh()


def reachable(root: object) -> list[bytes]:
    """The bytes of every array, bytes and text that an object leads to."""
    found: list[bytes] = []
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | type(asyncio) | type(reachable)):
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            found.append(one.tobytes())
        elif isinstance(one, bytes | str):
            found.append(one.encode() if isinstance(one, str) else one)
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif hasattr(one, "__dict__"):
            waiting += vars(one).values()
    return found


async def test_the_service_learns_the_sum_and_nothing_else(world, tmp_path):
    members = await fleet(world, tmp_path, 7)
    campaign = await opened(world, members)
    plain = {member.id: member.gives(campaign) for member in members}
    await dealt(world, members)
    staying = members[:5]
    await all_turn(staying)
    await later(world, 1400)  # two are never heard of again
    held = reachable(world.service.rounds._held)
    database = b"".join(path.read_bytes() for path in Path(world.service.settings.home).rglob("*.db*"))
    for values in plain.values():
        raw = values.astype("<i4").tobytes()
        for kept in (*held, database):
            assert raw[:64] not in kept
            assert base64.b64encode(raw)[:64] not in kept
    for member in members:
        passed = b"".join(body for _, body in member.wire.sent)
        assert base64.b64encode(plain[member.id].tobytes())[:64] not in passed
    await all_turn(staying)
    await world.service.rounds.refresh()
    shown = await world.call("GET", "/campaigns/campaign-1")
    assert shown["campaign"]["state"] == "done"
    assert (shown["campaign"]["accepted"], shown["campaign"]["joined"]) == (5, 7)
    assert shown["campaign"]["norm_median"] == 0
    await sign_in(world)
    page = (await world.http.get("/console/campaigns/campaign-1")).text
    assert "7 <small>the service learns their sum alone" in page
    assert "Shortened to the clip" not in page
    answer = await world.call("GET", "/campaigns/campaign-1/result")
    result = np.frombuffer(base64.b64decode(answer["values"]), "<f8")
    total = sum(plain[member.id].astype(np.int64) for member in staying)
    np.testing.assert_array_equal(result, total * 2.0**-20 / 5)  # exact
    for member in staying:
        await member.turn()
        assert member.record(CONTRIBUTED) == b"campaign-1"
        assert member.record(ROUND) is member.record(CONTRIBUTION) is None
    assert not world.service.rounds._held


async def test_too_few_survivors_void_it(world, tmp_path):
    members = await fleet(world, tmp_path, 5)
    await opened(world, members, noise=2.0)
    await dealt(world, members)
    await all_turn(members[:3])  # of five four must stay
    await later(world, 1400)
    shown = await world.call("GET", "/campaigns/campaign-1")
    assert shown["campaign"]["state"] == "void"
    assert "3 of 4 devices stayed" in shown["campaign"]["detail"]
    assert shown["epsilon"] > 0
    assert shown["spent"] == 0
    await world.call("GET", "/campaigns/campaign-1/result", status=409)
    await all_turn(members)
    assert all(member.record(CONTRIBUTION) is None for member in members)


async def test_a_service_that_is_killed_leaves_it_void(world, tmp_path):
    members = await fleet(world, tmp_path, 3)
    await opened(world, members)
    await dealt(world, members)
    await all_turn(members)
    old = world.service
    again = Service(old.settings, old.store, old.state._key)
    again.rounds.clock = lambda: old.rounds.clock() + 31
    await again.rounds.refresh()
    assert old.store.campaign("campaign-1").state == "void"
    assert old.store.campaign_result("campaign-1") is None


async def test_an_agent_that_restarts_has_dropped_out(world, tmp_path):
    members = await fleet(world, tmp_path, 4)
    await opened(world, members)
    await dealt(world, members)
    members[0].restart()
    await all_turn(members)
    assert members[0].record(CONTRIBUTED) == b"campaign-1"
    await later(world, 1400)
    await all_turn(members)
    await world.service.rounds.refresh()
    assert (await world.call("GET", "/campaigns/campaign-1"))["campaign"]["accepted"] == 3


async def test_what_is_out_of_turn_or_false_is_refused(world, tmp_path):
    members = await fleet(world, tmp_path, 4)
    campaign = await opened(world, members)
    await all_turn(members)
    liar, honest = members[0], members[1]
    plain = Contribution.of("campaign-1", members[0].gives(campaign).tobytes())
    service = liar.agent.service

    async def refused(member: Member, path: str, message: object, status: int) -> None:
        headers = {"Authorization": f"Bearer {member.agent.service._bearer()}"}
        answer = await world.http.post(path, content=dumps(message), headers=headers)
        assert answer.status_code == status, answer.text

    await asyncio.to_thread(service._bearer)
    await asyncio.to_thread(honest.agent.service._bearer)
    await refused(liar, "/device/v1/contributions", plain, 409)  # nobody gives anything before it has joined
    await all_turn(members)
    other = honest.agent._contributor._turns._part.member
    await refused(liar, JOINING_PATH, other, 422)  # another's keys
    await refused(liar, JOINING_PATH, replace(other, joining=replace(other.joining, device=liar.id)), 422)
    await refused(liar, DEALING_PATH, Dealing("campaign-1", {}), 409)
    await later(world, 1500)
    await refused(honest, JOINING_PATH, other, 409)
    await refused(liar, DEALING_PATH, Dealing("campaign-1", {}), 422)
    await refused(liar, DEALING_PATH, Dealing("campaign-1", {}), 403)  # flagged
    await refused(honest, DEALING_PATH, Dealing("campaign-0", {}), 409)
    found = await world.call("GET", "/campaigns/campaign-1/contributors")
    flagged = {one["contributor"]["device"] for one in found if one["flagged"]}
    assert flagged == {liar.id}
    await all_turn(members[1:])
    await later(world, 700)
    await all_turn(members[1:])
    await world.service.rounds.refresh()
    await all_turn(members[1:])
    await world.service.rounds.refresh()
    shown = await world.call("GET", "/campaigns/campaign-1")
    assert (shown["campaign"]["state"], shown["campaign"]["accepted"]) == ("done", 3)


async def test_peers_an_owner_does_not_know_get_nothing(world, tmp_path):
    members = await fleet(world, tmp_path, 4)
    keys = frozenset(member.agent.identity.key().public.raw for member in members[:2])
    members[0].options["peers"] = keys
    members[0].restart()
    await opened(world, members)
    await dealt(world, members)
    assert members[0].record(CONTRIBUTED) == b"campaign-1"  # withheld, and not tried again
    assert DEALING_PATH not in {path for path, _ in members[0].wire.sent}
    assert DEALING_PATH in {path for path, _ in members[1].wire.sent}


async def test_paused_lets_nobody_join_and_those_who_joined_go_on(world, tmp_path):
    members = await fleet(world, tmp_path, 4)
    await opened(world, members)
    await all_turn(members[:3])
    await all_turn(members[:3])
    await world.call("POST", "/campaigns/campaign-1/pause", {})
    await world.service.rounds.refresh()
    await all_turn(members[3:])
    assert members[3].record(ROUND) is None
    await later(world, 1500)
    for _ in range(3):
        await all_turn(members[:3])
        await world.service.rounds.refresh()
    shown = await world.call("GET", "/campaigns/campaign-1")
    assert (shown["campaign"]["state"], shown["campaign"]["accepted"]) == ("done", 3)
