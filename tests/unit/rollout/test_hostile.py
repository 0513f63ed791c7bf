"""What devices send at the edge of every field hurts nobody: not the service, not another tenant."""

from pathlib import Path

import pytest

from acclimate.rollout.settings import ServiceSettings
from tests.support.hostile import PLAN, UNLIMITED, drive
from tests.support.rollout_world import World as Honest
from tests.unit.rollout.conftest import running
from tests.unit.rollout.console.test_pages import sign_in

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> ServiceSettings:
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgresql" else ""
    return ServiceSettings(home=tmp_path, database_url=url, **UNLIMITED)


async def attack(settings: ServiceSettings, devices: int, rounds: int) -> int:
    async with running(settings) as world:
        await sign_in(world)
        honest = Honest(world.service.store, 120, **PLAN)
        return await drive(world, honest, devices, rounds)


async def test_extremes_of_every_field_hurt_nobody(settings: ServiceSettings):
    assert await attack(settings, devices=2, rounds=1) > 600


@pytest.mark.nightly
async def test_ten_thousand_extremes_hurt_nobody(settings: ServiceSettings):
    assert await attack(settings, devices=8, rounds=4) > 10_000
