"""Who computes a step's shards: this process, or Ray's (`ray_pool`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Protocol

import torch

from acclimate.initialization import Normalization
from acclimate.learners import MetaParams
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.shard import Drawn, ShardResult, ShardWorker, deterministic


class TaskWorkers(Protocol):
    """Computes shards for the phases of a run, such as meta-training and the joint baseline."""

    def compute(
        self, phase: str, meta: MetaParams, step: int, shards: Sequence[list[int]]
    ) -> list[ShardResult]:
        """The results in the order of `shards`, whoever computed them.

        Or fewer: the sums of consecutive blocks of one power of two shards each, but for the last.
        """


class InProcess:
    """Computes shards in this process, where a debugger reaches them.

    One after the other, but for compiled code, which leaves Python to other threads: as many as torch has,
    each shard in one of them, while this one draws the next step's episodes. Data are opened once, and a
    phase's network is built when its first shard is asked for.

    Args:
        recipes: by phase, on the same data.
        opened: the problem of one of them, where this process has it already.
        measured: normalizations by phase, where the driver measured them.
        content: fingerprint of the data, where the driver opened them.
    """

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        opened: Problem | None = None,
        measured: Mapping[str, Normalization] | None = None,
        content: str | None = None,
    ) -> None:
        self._recipes = recipes
        self._content = content
        self._opened = opened
        self._measured = measured or {}
        self._worker = cache(self._open)
        self._threads = ThreadPoolExecutor(torch.get_num_threads(), "shards")
        self._ahead: tuple[object, list[Drawn]] = (None, [])

    def compute(
        self, phase: str, meta: MetaParams, step: int, shards: Sequence[list[int]]
    ) -> list[ShardResult]:
        worker = self._worker(phase)
        if len(shards) == 1 or worker.learner.draws:  # torch's generator is one for all threads
            return [worker.compute(meta, step, indices) for indices in shards]
        with deterministic():  # for the process as a whole, until the last thread has left its own
            place, drawn = self._ahead
            if place != (phase, step, shards):
                drawn = [worker.draw(step, indices) for indices in shards]
            futures = [
                self._threads.submit(worker.learn, meta, step, indices, episodes)
                for indices, episodes in zip(shards, drawn, strict=True)
            ]
            try:
                following = [worker.draw(step + 1, indices) for indices in shards]
                self._ahead = (phase, step + 1, shards), following
            finally:
                wait(futures)
        return [future.result() for future in futures]

    def _open(self, phase: str) -> ShardWorker:
        recipe, measured = self._recipes[phase], self._measured.get(phase)
        if self._opened is None:
            self._opened = open_problem(recipe, measured, self._content)
        return ShardWorker.of(self._opened.again(recipe, measured))
