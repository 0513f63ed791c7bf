"""One shard of one step: the only work that is spread over machines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn

from acclimate.learners import Learner, MetaParams, build_learner
from acclimate.tasks import Sampler
from acclimate.tasks.episodes import Examples
from acclimate.training.problem import Problem

CPU = torch.device("cpu")


@dataclass(frozen=True)
class ShardResult:
    """Sums over the tasks of one shard: the meta-gradient, and each figure by name (`tasks` counts them)."""

    gradient: MetaParams
    figures: dict[str, float]


class Drawn(NamedTuple):
    """The episodes of one shard, on the worker's device."""

    support: Examples
    query: Examples


@dataclass(frozen=True)
class ShardWorker:
    """Computes shards of a problem; stateless, so that any worker can compute any shard."""

    learner: Learner
    sampler: Sampler
    device: torch.device = CPU
    seed: int = 0

    @staticmethod
    def of(problem: Problem, device: torch.device = CPU) -> ShardWorker:
        """A worker on the training tasks; elsewhere than on the CPU it computes with torch's own kernels."""
        sampler = problem.training_sampler()
        if device.type == "cpu":
            return ShardWorker(problem.learner(), sampler, seed=problem.recipe.seed)
        config = replace(problem.learner_config(), compile="off")
        learner = build_learner(config, problem.model.to(device), problem.loss)
        return ShardWorker(learner, sampler, device, problem.recipe.seed)

    def compute(self, meta: MetaParams, step: int, indices: list[int]) -> ShardResult:
        """The shard of `step` that holds the tasks at `indices` of its meta-batch."""
        return self.learn(meta, step, indices, self.draw(step, indices))

    def draw(self, step: int, indices: list[int]) -> Drawn:
        """The shard's episodes, which no meta-parameter touches: they may be drawn ahead of their step."""
        episodes = self.sampler.episodes(step, indices)
        return Drawn(
            *(
                Examples(*(part.to(self.device) for part in half))
                for half in (episodes.support, episodes.query)
            )
        )

    def learn(self, meta: MetaParams, step: int, indices: list[int], drawn: Drawn) -> ShardResult:
        """The shard's meta-gradient at `meta`, on the episodes that `draw` gave for it."""
        # Torch lacks deterministic GPU kernels for some operators, and on a GPU no bits are promised.
        with deterministic() if self.device.type == "cpu" else nullcontext():
            aside = leaving_out(self.learner.model, self.seed, step, indices[0], self.device)
            with aside if self.learner.draws else nullcontext():
                gradient, figures = self.learner.meta_gradient(meta, drawn.support, drawn.query, step)
        return ShardResult(gradient, {name: float(value) for name, value in figures.items()})


@contextmanager
def leaving_out(
    model: nn.Module, seed: int, step: int, index: int, device: torch.device = CPU
) -> Iterator[None]:
    """Let dropout leave values out, and the same ones whoever computes the shard at `index` of `step`."""
    key = int.from_bytes(hashlib.sha256(f"{seed}/{step}/{index}".encode()).digest()[:8], "big")
    with torch.random.fork_rng(devices=[]):
        if device.type == "cpu":  # `torch.manual_seed` notes a stack trace for every other kind of device
            torch.default_generator.manual_seed(key)
        else:
            torch.manual_seed(key)
        model.train()
        try:
            yield
        finally:
            model.eval()


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread and deterministic kernels: sums must not depend on how many cores a worker sees."""
    # `use_deterministic_algorithms` would import torch's compiler, seconds in every process that trains.
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.set_num_threads(threads)
