"""Microcontrollers and other devices in one round whose sum alone the service learns."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization

from acclimate.bundle.mcu.firmware import bundle_in
from acclimate_device.agent.agent import Agent
from acclimate_device.agent.config import AgentConfig
from acclimate_device.agent.gateway import Gateway, GatewayConfig
from acclimate_device.agent.transport import Response
from acclimate_device.mcu.line import Ask, Line
from acclimate_device.mcu.ports import open_port
from acclimate_device.protocol import Contribution, loads
from acclimate_device.storage import CONTRIBUTED, CONTRIBUTION, ROUND, FileFlash, Store
from acclimate_device.testing.repository import SimulatedRepository
from tests.support.mcu_host import GESTURES
from tests.unit.mcu.conftest import KEY
from tests.unit.mcu.test_decisions import stream
from tests.unit.mcu.test_gateway import board, program  # noqa: F401
from tests.unit.mcu.test_moments import sdks
from tests.unit.rollout.api.test_campaigns import BUNDLE, later
from tests.unit.rollout.api.test_secure_campaigns import Wire, all_turn, dealt, fleet, opened
from tests.unit.rollout.conftest import anyio_backend, migrated, world  # noqa: F401

pytestmark = pytest.mark.anyio


class Files:
    """A TUF repository with what everybody runs, as a `Transport`."""

    def __init__(self) -> None:
        self.repository = SimulatedRepository()
        self.repository.publish(dict(BUNDLE))

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        return self.repository.get(path.removeprefix("/"), headers, max_bytes)


class Pump:
    """A gateway with one child, which learnt some examples: it takes turns like a `Member`."""

    def __init__(self, wire: Wire, port: str, folder: Path, seed: int, token: str) -> None:
        folder.mkdir()
        pem = KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "gateway.pem").write_bytes(pem)
        (folder / "token").write_text(token)
        (folder / "children.toml").write_text(
            f'key = "gateway.pem"\n[child.pump]\nport = "{port}"\nbundle = "{GESTURES}"\n'
            'token_file = "token"\ncontribute = true\n'
        )
        own = AgentConfig("https://service.invalid", folder / "state", folder / "root.json")
        self.wire, line = wire, Line(open_port(port))
        windows, classes = stream(seed, 20)
        self.examples = list(zip(windows, classes.tolist(), strict=True))
        for x, y in self.examples:
            line.example(Ask.LEARN, struct.pack("<i", y) + np.asarray(x, "<f4").tobytes())

        def agent(config: AgentConfig) -> Agent:
            flash, files = FileFlash(config.state), Files()
            root, folder = files.repository.root, config.state / "tuf"
            made = Agent(self.wire, flash, root, folder, repository=files, contribute=config.contribute)
            made.service.enrol(config.token_file.read_text(), config.hardware_id, {}, "")
            return made

        config = GatewayConfig.load(folder / "children.toml", own)
        self.gateway, self._store = Gateway(config, agent), Store(FileFlash(config.children[0].agent.state))

    async def turn(self) -> None:
        assert await asyncio.to_thread(self.gateway.round) == {"pump": ""}

    def record(self, name: str) -> bytes | None:
        return self._store.read(name)


@pytest.mark.parametrize("who", ["pump", "member"])
async def test_the_sum_is_exact_whoever_drops_out(world, board, tmp_path, who: str) -> None:  # noqa: F811
    members, pumps = await fleet(world, tmp_path, 3), []
    for seed in (7, 8):
        made = await world.call("POST", "/fleets/plant/enrolment-tokens", {}, 201)
        port, folder = board(flash=f"flash-{seed}"), tmp_path / f"pump-{seed}"
        pumps.append(await asyncio.to_thread(Pump, Wire(world), port, folder, seed, made["token"]))
    everybody = [*members, *pumps]
    campaign = await opened(world, members)
    await all_turn(pumps)
    plain = [loads(Contribution, pump.record(CONTRIBUTION), 10**6) for pump in pumps]
    for pump, given in zip(pumps, plain, strict=True):
        expected = sdks(bundle_in(GESTURES), pump.examples, campaign.round())
        apart = np.frombuffer(given.raw, "<i4") - np.frombuffer(expected.raw, "<i4").astype(np.int64)
        assert np.abs(apart).max() <= 2
        assert (given.right, given.tried) == (0, 0)
    values = [member.gives(campaign) for member in members]
    values += [np.frombuffer(given.raw, "<i4") for given in plain]
    await dealt(world, everybody)
    gone = 4 if who == "pump" else 0
    staying = [one for place, one in enumerate(everybody) if place != gone]
    await all_turn(staying)  # masked
    await later(world, 1400)
    await all_turn(staying)  # unmasked
    await world.service.rounds.refresh()
    shown = (await world.call("GET", "/campaigns/campaign-1"))["campaign"]
    assert (shown["state"], shown["joined"], shown["accepted"]) == ("done", 5, 4), shown["detail"]
    answer = await world.call("GET", "/campaigns/campaign-1/result")
    total = sum(one.astype(np.int64) for place, one in enumerate(values) if place != gone)
    result = np.frombuffer(base64.b64decode(answer["values"]), "<f8")
    np.testing.assert_array_equal(result, total * 2.0**-20 / 4)  # exact
    for pump, given in zip(pumps, plain, strict=True):
        passed = b"".join(body for _, body in pump.wire.sent)
        assert base64.b64encode(given.raw)[:64] not in passed
    for pump in [one for one in staying if one in pumps]:
        await pump.turn()
        assert pump.record(CONTRIBUTED) == b"campaign-1"
        assert pump.record(ROUND) is pump.record(CONTRIBUTION) is None
