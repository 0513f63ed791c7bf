"""A year of a fleet on a simulated clock: what is kept stays bounded, no count is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.rollout.controller import DAY_S, Controller
from acclimate.rollout.store import open_store
from tests.support.rollout_samples import NEW, NOW, OLD, a_device, a_fleet, a_report

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
DEVICES, EVERY_S, DAYS, KEPT_DAYS = 20, 7_200.0, 365, 30
DAILY = int(DEVICES * DAY_S / EVERY_S)


def test_a_year_of_reports_takes_the_room_of_a_month(tmp_path: Path):
    sizes = a_year(tmp_path / "rollout.db")
    print("MB at the end of each month:", [round(size / 1e6, 1) for size in sizes[29::30]])
    settled = max(sizes[KEPT_DAYS : 3 * KEPT_DAYS])
    assert sizes[-1] < 1.3 * settled


def a_year(path: Path) -> list[int]:
    """Bytes of the database after each day."""
    store, now, sizes = open_store(f"sqlite:///{path}"), [NOW], list[int]()
    store.add_fleet(a_fleet(), "ada")
    store.add_devices([a_device(number) for number in range(DEVICES)], NOW, "ada")
    for release in (OLD, NEW):
        store.set_baseline("home", "", release, NOW, "ada")
    controller = Controller(store, "one", lambda: now[0], retention_s=KEPT_DAYS * DAY_S)
    number = 0
    for day in range(DAYS):
        release = NEW if day > DAYS // 2 else OLD
        reports = [
            a_report(f"device-{device:05d}", number + index * DEVICES + device, release=release,
                     received_at=now[0] + index * EVERY_S, payload="x" * 1_200)
            for index in range(DAILY // DEVICES)
            for device in range(DEVICES)
        ]  # fmt: skip
        store.add_reports(reports)
        number += len(reports)
        now[0] += DAY_S
        controller._pruned_at = 0.0
        while controller.tick() and controller._pruned_at == 0.0:
            pass
        sizes.append(sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*")))
        if day % 73 == 72:
            rows = len(store.reports_after("home", 0, limit=1_000_000))
            assert rows <= (KEPT_DAYS + 1) * DAILY + DEVICES
    assert sum(one.reports for one in store.counts("home")) == number == DAYS * DAILY
    store.close()
    return sizes
