"""The sum over a step's shards: along one binary tree, whoever adds up which part of it.

Floating-point sums depend on their order. This tree depends on the number of shards alone, so that workers
can add up whole branches of it and no bit of the result tells how many there were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from acclimate.training.shard import ShardResult


def add_up(parts: Sequence[ShardResult]) -> ShardResult:
    """The sum of `parts`, one or more, by halves; the first is the largest power of two below their number.

    So the sums of consecutive blocks of one power of two, added up likewise, give the same bits.
    """
    if len(parts) == 1:
        return parts[0]
    half = 1 << (len(parts) - 1).bit_length() - 1
    left, right = add_up(parts[:half]), add_up(parts[half:])
    return ShardResult(
        {name: tensor + right.gradient[name] for name, tensor in left.gradient.items()},
        {name: value + right.figures[name] for name, value in left.figures.items()},
    )


def block_size(shards: int, groups: int, workers: int) -> int:
    """Shards of a block, a power of two, so that `groups` of `workers` each end soonest.

    Among equals the largest: fewer sums travel.
    """
    sizes = [1 << power for power in range((shards - 1).bit_length() + 1)]

    def rounds(size: int) -> int:
        return math.ceil(math.ceil(shards / size) / groups) * math.ceil(size / workers)

    return min(reversed(sizes), key=rounds)
