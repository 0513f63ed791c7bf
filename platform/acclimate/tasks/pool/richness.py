"""How many examples an episode may have: as many as most of a fleet's devices can give."""

from __future__ import annotations

from acclimate.tasks.episodes import EpisodePlan
from acclimate.tasks.pool import TaskPool
from acclimate.tasks.pool.sampler import cut_cells

OF_CLASSES = ((5, 15), (5, 5), (3, 3), (2, 2), (1, 1))
"""Support and query of each class, the richest first."""
OF_NUMBERS = ((64, 64), (32, 32), (16, 16), (8, 8), (5, 5), (3, 3), (2, 2), (1, 1))
"""Support and query in all: one measured number tells little, and there are many."""
ENOUGH = 0.75
"""Of what was recorded. Devices with less give what they have: what is missing does not count."""


def richest_episode(pool: TaskPool) -> tuple[int, int]:
    """Support and query examples that most classes of most devices can fill; else the poorest."""
    tried = OF_CLASSES if pool.schema.kind == "classification" else OF_NUMBERS
    for shots, query in tried:
        support, begin, size = cut_cells(pool, EpisodePlan(shots=shots, query_shots=query))
        whole = (support >= shots) & (size - begin >= query)
        if whole[size > 0].mean() >= ENOUGH:
            return shots, query
    return tried[-1]
