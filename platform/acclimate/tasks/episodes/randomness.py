"""Random numbers as a function of where they are used, not of what was drawn before.

Philox is a counter-based generator: its output is a keyed hash of a 256-bit counter. Here the key is the
seed and a domain, the counter's upper words are (step, index), and its lowest word runs along the draws. So
any worker computes the draws of any (step, index) alone, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_MASK = (1 << 64) - 1


class Domain(IntEnum):
    """Keeps draws for different purposes independent under one seed."""

    TASKS = 1
    EXAMPLES = 2
    EVALUATION = 3
    GENERATED_TASKS = 4
    SPLIT = 5
    VARIATION = 6
    AUGMENTATION = 7
    ATTACKERS = 8
    NOISE = 9
    DROPOUTS = 10


def generator(seed: int, domain: Domain, step: int = 0, index: int = 0) -> np.random.Generator:
    """The generator of one (seed, domain, step, index)."""
    key, counter = _place(seed, domain, step, index)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def uniforms(seed: int, domain: Domain, step: int, indices: Sequence[int], count: int) -> Floats:
    """Uniform draws in [0, 1) of shape (indices, count); a row depends on its own index only."""
    drawn = np.empty((len(indices), count))
    bits = np.random.Philox(0)
    numbers = np.random.Generator(bits)
    key, counter = _place(seed, domain, step, 0)
    state = bits.state
    state["state"] = {"key": key, "counter": counter}
    for row, index in enumerate(indices):  # moved from place to place: a new generator costs five times more
        counter[2] = index & _MASK
        bits.state = state
        numbers.random(out=drawn[row])
    return drawn


def _place(seed: int, domain: Domain, step: int, index: int) -> tuple[Words, Words]:
    """Key and counter."""
    key = np.array([seed & _MASK, int(domain)], dtype=np.uint64)
    return key, np.array([0, 0, index & _MASK, step & _MASK], dtype=np.uint64)


def subsets(draws: Floats, population: Integers) -> Integers:
    """Uniform random subsets without replacement, one a row, by Floyd's algorithm (CACM 30(9), 1987).

    Args:
        draws: uniforms (rows, size).
        population: items to choose from, (rows,).

    Returns:
        Distinct integers below `population`, (rows, size), ascending; a row whose population is smaller than
        `size` is filled up with -1 at its end.
    """
    rows, size = draws.shape
    take = np.minimum(size, population)
    padding = np.iinfo(np.int64).max
    chosen = np.full((rows, size), padding, dtype=np.int64)
    for i in range(size):
        last = population - take + i
        pick = (draws[:, i] * (last + 1)).astype(np.int64)
        taken = (chosen[:, :i] == pick[:, None]).any(axis=1)
        chosen[:, i] = np.where(i < take, np.where(taken, last, pick), padding)
    chosen.sort(axis=1)
    chosen[chosen == padding] = -1
    return chosen


def distinct_tasks(seed: int, step: int, indices: Sequence[int], population: int) -> Integers:
    """A task for each index of a step, all different until every task was drawn once.

    Indices are served in blocks: a block's tasks are drawn together without replacement, so that a shard
    that holds only some of them still agrees with the others.
    """
    block = min(population, 1024)
    wanted = np.asarray(indices, dtype=np.int64)
    tasks = np.empty(len(wanted), dtype=np.int64)
    for number in {index // block for index in indices}:
        order = _order(seed, step, number, population, block)
        mine = wanted // block == number
        tasks[mine] = order[wanted[mine] % block]
    return tasks


@lru_cache(maxsize=8)
def _order(seed: int, step: int, number: int, population: int, block: int) -> Integers:
    """Kept for the step's other shards: drawing it costs more than the rest of a small shard's episodes."""
    order = generator(seed, Domain.TASKS, step, number).choice(population, block, replace=False)
    order.flags.writeable = False
    return order
