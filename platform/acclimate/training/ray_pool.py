"""Ray actors as stateless task workers; a lost one is replaced and its shards are computed elsewhere.

Every actor opens the recipe's data itself (memory-mapped, so workers of one machine share it), takes
(meta-parameters, step, shard) and returns sums. Nothing else is kept on a worker, so workers may come and go
between and within steps.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError, WorkerCrashedError

from acclimate.errors import AcclimateError, TrainingError
from acclimate.learners import MetaParams
from acclimate.training.executor import InProcess
from acclimate.training.recipe import Recipe
from acclimate.training.shard import ShardResult

_LOSSES_A_SHARD = 3
_LOST = (ActorDiedError, ActorUnavailableError, WorkerCrashedError)


class RayWorker:
    """The actor: the in-process worker, in a process of its own."""

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self._workers = InProcess(recipes)

    def compute(self, phase: str, meta: MetaParams, step: int, indices: list[int]) -> ShardResult:
        return self._workers.compute(phase, meta, step, [indices])[0]

    def pid(self) -> int:
        return os.getpid()


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
        self._workers = workers
        self._address = address
        self._actors: list[Any] = []
        self._connected_here = False

    def __enter__(self) -> Self:
        self._connected_here = not ray.is_initialized()
        if self._connected_here:
            connect(self._address, self._workers)
        self._actors = [self._new_actor() for _ in range(self._workers)]
        try:
            self.pids()
        except _LOST as error:
            self._leave()
            raise TrainingError(
                f"a worker cannot start: every node needs this version of acclimate[train]: {error}"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        if self._connected_here:
            ray.shutdown()

    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [_result(actor.pid.remote()) for actor in self._actors]

    def compute(
        self, phase: str, meta: MetaParams, step: int, shards: Sequence[list[int]]
    ) -> list[ShardResult]:
        """See `TaskWorkers`.

        Raises:
            TrainingError: a shard lost its worker three times: it is the shard that kills them.
        """
        shared = ray.put(meta)
        results: dict[int, ShardResult] = {}
        waiting = list(enumerate(shards))
        for _ in range(_LOSSES_A_SHARD):
            asked = []
            for turn, (number, indices) in enumerate(waiting):
                slot = turn % len(self._actors)
                asked.append((number, slot, self._actors[slot].compute.remote(phase, shared, step, indices)))
            lost: set[int] = set()
            for number, slot, reference in asked:
                try:
                    results[number] = _result(reference)
                except _LOST:
                    lost.add(slot)
            for slot in lost:
                ray.kill(self._actors[slot])  # unavailable is not dead: never wait for the old one again
                self._actors[slot] = self._new_actor()
            waiting = [(number, indices) for number, indices in waiting if number not in results]
            if not waiting:
                return [results[number] for number in range(len(shards))]
        raise TrainingError(
            f"step {step}: workers died {_LOSSES_A_SHARD} times on the shard with tasks {waiting[0][1]} of "
            "the meta-batch: most likely they are out of memory; lower training.shard or use fewer workers"
        )

    def _new_actor(self) -> Any:
        return ray.remote(num_cpus=1)(RayWorker).remote(self._recipes)


def connect(address: str | None, workers: int) -> None:
    """Join the cluster at `address`, or start a Ray of our own with `workers` slots.

    Raises:
        TrainingError: the cluster cannot be joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        with _imports_as_here():
            # "local", and never a cluster that some earlier process left an address file of
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise TrainingError(f"no Ray cluster answers at {address} ({error})") from error


@contextmanager
def _imports_as_here() -> Iterator[None]:
    """Processes started meanwhile import what this one can, the user's own models included."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, AcclimateError):
            raise error.cause from None
        raise
