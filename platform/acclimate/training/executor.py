"""Who computes a step's shards: this process, or Ray's (`ray_pool`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Protocol

from acclimate.learners import MetaParams
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.shard import ShardResult, ShardWorker


class TaskWorkers(Protocol):
    """Computes shards for the phases of a run, such as meta-training and the joint baseline."""

    def compute(
        self, phase: str, meta: MetaParams, step: int, shards: Sequence[list[int]]
    ) -> list[ShardResult]:
        """The results in the order of `shards`, whoever computed them."""


class InProcess:
    """Computes shards one after the other in this process, where a debugger reaches them.

    Args:
        recipes: by phase; a phase's data and network are opened when its first shard is asked for.
    """

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self._worker = cache(lambda phase: ShardWorker.of(open_problem(recipes[phase])))

    def compute(
        self, phase: str, meta: MetaParams, step: int, shards: Sequence[list[int]]
    ) -> list[ShardResult]:
        worker: ShardWorker = self._worker(phase)
        return [worker.compute(meta, step, indices) for indices in shards]
