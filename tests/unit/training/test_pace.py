"""When a shard is overdue and when a worker hangs."""

from __future__ import annotations

import pytest

from acclimate.training.pace import Pace


def test_nothing_is_overdue_before_a_shard_was_done() -> None:
    assert Pace().usual is None
    assert Pace().overdue_after >= 60
    assert Pace().hung_after(answered=True) >= 60


def test_the_slow_tenth_counts_and_the_oldest_are_forgotten() -> None:
    pace = Pace()
    for _ in range(100):
        pace.add(50.0)
    for second in range(64):
        pace.add(1.0 + 0.01 * second)
    assert pace.usual == pytest.approx(1.567)
    assert pace.overdue_after == pytest.approx(2 * 1.567)
    assert pace.hung_after(answered=True) == pytest.approx(20.0)


def test_tiny_shards_are_given_the_pauses_of_a_busy_machine() -> None:
    pace = Pace()
    pace.add(0.001)
    assert pace.overdue_after == pytest.approx(0.5)


def test_a_first_shard_may_take_minutes_for_it_opens_the_data() -> None:
    pace = Pace()
    pace.add(1.0)
    assert pace.hung_after(answered=False) == pytest.approx(600.0)
