"""One shard of one step: the only work that is spread over machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from acclimate.learners import Learner, MetaParams
from acclimate.tasks import Sampler
from acclimate.training.problem import Problem


@dataclass(frozen=True)
class ShardResult:
    """Sums over the tasks of one shard: the meta-gradient, and each figure by name (`tasks` counts them)."""

    gradient: MetaParams
    figures: dict[str, float]


@dataclass(frozen=True)
class ShardWorker:
    """Computes shards of a problem; stateless, so that any worker can compute any shard."""

    learner: Learner
    sampler: Sampler

    @staticmethod
    def of(problem: Problem) -> ShardWorker:
        """A worker on the training tasks."""
        return ShardWorker(problem.learner(), problem.sampler(problem.split.train))

    def compute(self, meta: MetaParams, step: int, indices: list[int]) -> ShardResult:
        """The shard of `step` that holds the tasks at `indices` of its meta-batch."""
        with deterministic():
            episodes = self.sampler.episodes(step, indices)
            gradient, figures = self.learner.meta_gradient(meta, episodes.support, episodes.query, step)
        return ShardResult(gradient, {name: float(value) for name, value in figures.items()})


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread and deterministic kernels: sums must not depend on how many cores a worker sees."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)
