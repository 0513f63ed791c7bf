"""What devices send at the edge of every field hurts nobody: not the service, not another tenant."""

import shutil
from pathlib import Path

import pytest

from acclimate.rollout.settings import ServiceSettings
from tests.support.hostile import PLAN, UNLIMITED, drive
from tests.support.rollout_world import World as Honest
from tests.unit.rollout.conftest import running
from tests.unit.rollout.console.test_pages import sign_in

pytestmark = pytest.mark.anyio


async def test_extremes_of_every_field_hurt_nobody(tmp_path: Path, migrated: Path):
    shutil.copy(migrated, tmp_path / "rollout.db")
    async with running(ServiceSettings(home=tmp_path, **UNLIMITED)) as world:
        await sign_in(world)
        honest = Honest(world.service.store, 120, **PLAN)
        assert await drive(world, honest, devices=3, rounds=1) > 900
