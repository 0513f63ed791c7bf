"""What a running service says of itself to `acclimate doctor`."""

from datetime import UTC, datetime, timedelta

import pytest

from acclimate.bundle.repository import KEYS, create, create_key

pytestmark = pytest.mark.anyio


async def found(world):
    return {one["check"]: one for one in await world.call("GET", "/health")}


async def test_a_healthy_service_says_so(world):
    checks = await found(world)
    assert {"database", "disk", "work"} <= set(checks)
    assert checks["database"]["level"] == checks["work"]["level"] == "ok"


async def test_what_fails_is_named_with_a_remedy(world, monkeypatch, tmp_path):
    keys = {key: [create_key(tmp_path / "keys" / f"{key}.pem", None)] for key in KEYS}
    create(world.service.settings.tuf, keys, datetime.now(UTC) - timedelta(days=1.5))
    with world.service.faults.apart("rollout", "r-1"):
        raise OSError("disk full")

    def fails(now):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.service.store, "ping", fails)
    checks = await found(world)
    assert (checks["database"]["level"], "disk is full" in checks["database"]["found"]) == ("error", True)
    assert "OSError: disk full (1 times" in checks["rollout r-1"]["found"]
    assert checks["signature of timestamp"]["level"] == "warning"
    world.service.settings.home.chmod(0o1777)
    assert "may write" in (await found(world))["rights"]["found"]
    assert all(one["remedy"] for one in checks.values() if one["level"] != "ok")


async def test_an_operator_of_one_fleet_is_not_told(world):
    await world.call("POST", "/fleets", {"name": "ours"}, 201)
    limited = await world.operator("admin", "ours")
    assert (await world.http.get("/api/v1/health", headers=limited)).status_code == 403
