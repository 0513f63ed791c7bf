"""The extremes of every field over PostgreSQL, and ten thousand of them over both databases."""

from pathlib import Path

import pytest

from acclimate.rollout.settings import ServiceSettings
from tests.support.hostile import PLAN, UNLIMITED, drive
from tests.support.postgres import PostgresServer
from tests.support.rollout_world import World as Honest
from tests.unit.rollout.conftest import running
from tests.unit.rollout.console.test_pages import sign_in

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def attack(settings: ServiceSettings, devices: int, rounds: int) -> int:
    async with running(settings) as world:
        await sign_in(world)
        honest = Honest(world.service.store, 120, **PLAN)
        return await drive(world, honest, devices, rounds)


async def test_extremes_of_every_field_hurt_nobody_on_postgresql(tmp_path: Path, postgres: PostgresServer):
    settings = ServiceSettings(home=tmp_path, database_url=postgres.new_database(), **UNLIMITED)
    assert await attack(settings, devices=2, rounds=1) > 600


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_ten_thousand_extremes_hurt_nobody(kind: str, tmp_path: Path, postgres: PostgresServer):
    url = postgres.new_database() if kind == "postgresql" else ""
    settings = ServiceSettings(home=tmp_path, database_url=url, **UNLIMITED)
    assert await attack(settings, devices=8, rounds=4) > 10_000
