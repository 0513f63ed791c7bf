"""What a client says of where it comes from counts only as far as the operator trusts the hops between."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from acclimate.rollout.application import application
from acclimate.rollout.settings import ServiceSettings
from tests.unit.rollout.conftest import running

pytestmark = pytest.mark.anyio
BURST = 3


@pytest.mark.parametrize(
    ("peer", "trusted", "forged", "ends"),
    [
        ("203.0.113.5", "127.0.0.1", {"X-Forwarded-For": "198.51.100.%d"}, True),  # nobody's proxy
        ("203.0.113.5", "127.0.0.1", {"Forwarded": "for=198.51.100.%d"}, True),
        ("203.0.113.5", "127.0.0.1", {"X-Real-IP": "198.51.100.%d"}, True),
        ("127.0.0.1", "127.0.0.1", {"X-Forwarded-For": "198.51.100.%d, 203.0.113.5"}, True),  # it appends
        ("10.1.2.3", "10.0.0.0/8", {"X-Forwarded-For": "198.51.100.%d, 203.0.113.5, 10.9.9.9"}, True),
        ("127.0.0.1", "127.0.0.1", {"X-Forwarded-For": "198.51.100.%d, 203.0.113.5:4%d"}, True),  # and a port
        ("127.0.0.1", "127.0.0.1", {"X-Forwarded-For": "%d, 2001:db8::%d"}, True),  # one network's
        (
            "127.0.0.1",
            "127.0.0.1",
            {"Forwarded": "for=198.51.100.%d"},
            True,
        ),  # a header that is not asked for
        ("127.0.0.1", "127.0.0.1", {"X-Forwarded-For": "198.51.100.%d"}, False),  # who really differs
    ],
)
async def test_whatever_is_forged_a_stranger_is_the_same_one(
    tmp_path: Path, migrated: Path, peer: str, trusted: str, forged: dict[str, str], ends: bool
):
    shutil.copy(migrated, tmp_path / "rollout.db")
    settings = ServiceSettings(
        home=tmp_path, trusted_proxies=trusted, anonymous_rate=0.001, anonymous_burst=BURST
    )
    async with running(settings) as world:
        transport = httpx.ASGITransport(application(world.service), client=(peer, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            asked = []
            for number in range(1, 3 * BURST):
                headers = {name: value.replace("%d", str(number)) for name, value in forged.items()}
                asked.append((await http.get("/api/v1/fleets", headers=headers)).status_code)
                assert (await http.get("/metrics", headers=headers)).status_code in (401, 429)
    assert set(asked[BURST:]) == ({429} if ends else {401})
