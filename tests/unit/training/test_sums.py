"""The sum over shards has the same bits whoever adds up which blocks of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.training.shard import ShardResult
from acclimate.training.sums import add_up, block_size


def results(count: int, seed: int) -> list[ShardResult]:
    """Of sizes that differ by orders of magnitude, so that another order gives other bits."""
    numbers = torch.Generator().manual_seed(seed)
    values = torch.randn(count, 5, generator=numbers) * 10 ** (6 * torch.rand(count, 1, generator=numbers))
    return [ShardResult({"w": row}, {"tasks": 1.0, "loss": float(row[0])}) for row in values]


@given(count=st.integers(1, 300), power=st.integers(0, 9), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_blocks_added_up_elsewhere_give_the_same_bits(count: int, power: int, seed: int) -> None:
    parts, size = results(count, seed), 1 << power
    whole = add_up(parts)
    blocks = [add_up(parts[first : first + size]) for first in range(0, count, size)]
    again = add_up(blocks)
    assert torch.equal(again.gradient["w"], whole.gradient["w"])
    assert again.figures == whole.figures
    assert whole.figures["tasks"] == count


def test_another_order_would_show() -> None:
    parts = results(100, 1)
    assert not torch.equal(add_up(parts).gradient["w"], add_up(parts[::-1]).gradient["w"])


@given(shards=st.integers(1, 5000), groups=st.integers(1, 40), workers=st.integers(1, 40))
def test_a_block_is_a_power_of_two_and_no_larger_than_needed(shards: int, groups: int, workers: int) -> None:
    size = block_size(shards, groups, workers)
    assert size & (size - 1) == 0
    assert size < 2 * shards


@pytest.mark.parametrize(
    ("shards", "groups", "workers", "size"),
    [(1000, 32, 32, 32), (1056, 33, 32, 32), (6, 3, 2, 2), (1, 3, 2, 1), (64, 2, 32, 32)],
)
def test_a_step_is_divided_so_that_nobody_waits(shards: int, groups: int, workers: int, size: int) -> None:
    assert block_size(shards, groups, workers) == size
