"""Ray actors as stateless task workers; a lost one is replaced and its shards are computed elsewhere.

Every actor opens the recipe's data itself (memory-mapped, so workers of one machine share it), takes
(meta-parameters, step, shard) and returns sums. Nothing else is kept on a worker, so workers may come and go
between and within steps: work goes to those that run, and a replacement for which the cluster has no core yet
joins when there is one.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt
import ray
import torch
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

from acclimate.errors import AcclimateError, TrainingError
from acclimate.learners import MetaParams
from acclimate.training.executor import InProcess
from acclimate.training.ray_connection import connect
from acclimate.training.recipe import Recipe
from acclimate.training.shard import ShardResult

log = logging.getLogger(__name__)

# What travels: Ray moves arrays as they are, and takes 1.4 ms to pickle or unpickle 28 tensors.
Arrays = dict[str, npt.NDArray[Any]]
Figures = dict[str, float]

_LOSSES_A_SHARD = 3
_FAILED_STARTS = 3
_AHEAD = 2  # shards handed to a worker at a time: it never waits for the driver between two small ones
_PATIENCE_S = 20.0  # without any worker, before saying so
# A large result stays on the node that made it: if the node goes before it is fetched, the object is lost.
_LOST = (ActorDiedError, ActorUnavailableError, WorkerCrashedError, NodeDiedError, ObjectLostError)


class RayWorker:
    """The actor: the in-process worker, in a process of its own."""

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self._workers = InProcess(recipes)

    def compute(self, phase: str, meta: Arrays, step: int, indices: list[int]) -> tuple[Arrays, Figures]:
        [result] = self._workers.compute(phase, _tensors(meta), step, [indices])
        return _arrays(result.gradient), result.figures

    def pid(self) -> int:
        return os.getpid()


@dataclass(eq=False)
class _Worker:
    """An actor; `pid` is None until it runs."""

    actor: Any
    starting: Any
    pid: int | None = None


class RayPool:
    """Task workers in a Ray of this machine's own, or in the cluster at `address`.

    A context manager: workers live between enter and exit.

    Args:
        recipes: by phase.
        workers: how many actors, one core each.
        address: of a running cluster; None uses the Ray this process is connected to, else starts one that
            ends with this pool.
    """

    def __init__(self, recipes: Mapping[str, Recipe], workers: int, address: str | None = None) -> None:
        self._recipes = dict(recipes)
        self._size = workers
        self._address = address
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._connected_here = False

    def __enter__(self) -> Self:
        self._connected_here = not ray.is_initialized()
        if self._connected_here:
            connect(self._address, self._size)
        try:
            self._workers = [self._start() for _ in range(self._size)]
            self._await_one()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for worker in self._workers:
            ray.kill(worker.actor)
        if self._connected_here:
            ray.shutdown()

    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return [worker.pid for worker in self._running() if worker.pid is not None]

    def compute(
        self, phase: str, meta: MetaParams, step: int, shards: Sequence[list[int]]
    ) -> list[ShardResult]:
        """See `TaskWorkers`.

        Raises:
            TrainingError: a shard lost its worker three times: it is the shard that kills them.
        """
        shared = ray.put(_arrays(meta))
        results: dict[int, ShardResult] = {}
        waiting = deque(range(len(shards)))
        asked: dict[Any, tuple[_Worker, int]] = {}
        losses: Counter[int] = Counter()
        while len(results) < len(shards):
            load = Counter(worker for worker, _ in asked.values())
            running = self._running()
            while waiting and running:
                worker = min(running, key=load.__getitem__)
                if load[worker] == _AHEAD:
                    break
                load[worker] += 1
                number = waiting.popleft()
                asked[worker.actor.compute.remote(phase, shared, step, shards[number])] = worker, number
            if not asked:
                self._await_one()
                continue
            for reference in self._wait_for(list(asked)):
                worker, number = asked.pop(reference)
                try:
                    gradient, figures = _result(reference)
                    results[number] = ShardResult(_tensors(gradient), figures)
                except _LOST as error:
                    losses[number] += 1
                    if losses[number] == _LOSSES_A_SHARD:
                        raise TrainingError(
                            f"step {step}: workers died {_LOSSES_A_SHARD} times on the shard with tasks "
                            f"{shards[number]} of the meta-batch: most likely they are out of memory; lower "
                            "training.shard or use fewer workers"
                        ) from error
                    waiting.appendleft(number)
                    self._replace(worker)
        return [results[number] for number in range(len(shards))]

    def _wait_for(self, asked: list[Any]) -> list[Any]:
        """Results that are there, at least one; none if a worker started instead, to give it work."""
        starting = [worker.starting for worker in self._workers if worker.pid is None]
        done, _ = ray.wait([*asked, *starting], num_returns=1)
        more, _ = ray.wait(asked, num_returns=len(asked), timeout=0)
        return list(dict.fromkeys([*(each for each in done if each in asked), *more]))

    def _running(self) -> list[_Worker]:
        """The workers that run, those included that have just started."""
        starting = {worker.starting: worker for worker in self._workers if worker.pid is None}
        if starting:
            done, _ = ray.wait(list(starting), num_returns=len(starting), timeout=0)
            for reference in done:
                self._finish_start(starting[reference])
        return [worker for worker in self._workers if worker.pid is not None]

    def _finish_start(self, worker: _Worker) -> None:
        try:
            worker.pid = _result(worker.starting)
            self._failed_starts = 0
        except (*_LOST, RuntimeEnvSetupError) as error:
            self._failed_starts += 1
            if self._failed_starts == _FAILED_STARTS:
                raise TrainingError(
                    "no worker can start: every node needs this version of acclimate[train] and the modules "
                    f"that the recipe names: {error}"
                ) from error
            self._replace(worker)

    def _await_one(self) -> None:
        while not self._running():
            starting = [worker.starting for worker in self._workers]
            started, _ = ray.wait(starting, num_returns=1, timeout=_PATIENCE_S)
            if not started:
                free, cores = (
                    each.get("CPU", 0) for each in (ray.available_resources(), ray.cluster_resources())
                )
                log.warning("waiting-for-worker", extra={"free_cores": free, "cores": cores})

    def _start(self) -> _Worker:
        actor = ray.remote(num_cpus=1)(RayWorker).remote(self._recipes)
        return _Worker(actor, actor.pid.remote())

    def _replace(self, worker: _Worker) -> None:
        if worker in self._workers:  # else it was replaced already, for another of its shards
            ray.kill(worker.actor)  # unavailable is not dead: never wait for the old one again
            self._workers[self._workers.index(worker)] = self._start()


def _arrays(tensors: MetaParams) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _tensors(arrays: Arrays) -> MetaParams:
    """Copies: what Ray hands out lies in its store and must not be written to."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, AcclimateError):
            raise error.cause from None
        raise
