"""Ray actors as stateless task workers; a lost one is replaced and its shards are computed elsewhere.

Every actor opens the recipe's data itself (memory-mapped, so workers of one machine share it), takes
(meta-parameters, step, shard) and returns sums. Nothing else is kept on a worker, so workers may come and go
between and within steps: work goes to those that run, and a replacement for which the cluster has no core yet
joins when there is one. A worker that is slow or hangs delays nobody: what it is late with is computed by an
idle one too, and the first answer counts (`pace`).

Above `2 * GROUP` workers the driver's actors are leaders: each has a pool of its own like the driver's, of
about `GROUP` workers, and answers with the sum of a block of shards (`sums`). So the driver receives one sum
a leader. What holds for its workers holds for its leaders, and for theirs.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self

import numpy.typing as npt
import ray
import torch
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

from acclimate.errors import TrainingError
from acclimate.initialization import Normalization
from acclimate.learners import MetaParams
from acclimate.training.executor import InProcess, TaskWorkers
from acclimate.training.pace import Pace
from acclimate.training.ray_connection import connected, result_of
from acclimate.training.recipe import Recipe
from acclimate.training.shard import ShardResult, deterministic
from acclimate.training.sums import add_up, block_size

log = logging.getLogger(__name__)

# What travels: Ray moves arrays as they are, and takes 1.4 ms to pickle or unpickle 28 tensors.
Arrays = dict[str, npt.NDArray[Any]]
Figures = dict[str, float]

GROUP = 32
"""Workers of a leader: about the root of a thousand, where leaders and driver have as much to do."""

_LOSSES_A_SHARD = 3
_FAILED_STARTS = 3
_AHEAD = 2  # shards handed to a worker at a time: it never waits for the driver between two small ones
_PATIENCE_S = 20.0  # without any worker, before saying so
_LOOK_S = 0.25  # between two looks for workers that are late
# A large result stays on the node that made it: if the node goes before it is fetched, the object is lost.
_LOST = (ActorDiedError, ActorUnavailableError, WorkerCrashedError, NodeDiedError, ObjectLostError)


class RayWorker:
    """The actor: the in-process worker in a process of its own, or the leader of `team` workers."""

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        measured: Mapping[str, Normalization],
        content: str | None,
        team: int,
    ) -> None:
        self._workers: TaskWorkers = (
            RayPool(recipes, team, measured=measured, content=content).__enter__()  # ends with this one
            if team
            else InProcess(recipes, measured=measured, content=content)
        )

    def compute(self, phase: str, meta: Arrays, step: int, block: list[list[int]]) -> tuple[Arrays, Figures]:
        with deterministic():
            added = add_up(self._workers.compute(phase, _tensors(meta), step, block))
        return _arrays(added.gradient), added.figures

    def pid(self) -> int:
        return os.getpid()


@dataclass(eq=False)
class _Step:
    """The step that is computed now; an answer to an earlier one is nobody's any more.

    Attributes:
        shards: what one actor computes at a time: a block of shards for a leader, of one shard for a worker.
        waiting: shards that nobody has.
        results: by shard.
        losses: workers that died on a shard, by shard.
    """

    phase: str
    meta: Any
    number: int
    shards: Sequence[list[list[int]]]
    waiting: deque[int] = field(default_factory=deque)
    results: dict[int, ShardResult] = field(default_factory=dict)
    losses: Counter[int] = field(default_factory=Counter)

    def return_shards(self, worker: _Worker) -> None:
        """What a lost worker still had waits again, before the rest."""
        mine = [shard for step, shard in worker.asked.values() if step is self and shard not in self.results]
        self.waiting.extendleft(reversed(mine))


@dataclass(eq=False)
class _Worker:
    """An actor and what it was asked to do.

    Attributes:
        team: how many workers it leads; 0: it is one.
        pid: None until it runs.
        asked: step and shard by reference, oldest first.
        since: when it began the oldest of them, by the monotonic clock.
        answered: whether it ever did.
        late: whether others compute what it has.
    """

    actor: Any
    starting: Any
    team: int
    pid: int | None = None
    asked: dict[Any, tuple[_Step, int]] = field(default_factory=dict)
    since: float = 0.0
    answered: bool = False
    late: bool = False

    def ask(self, step: _Step, shard: int) -> None:
        if not self.asked:
            self.since = time.monotonic()
        reference = self.actor.compute.remote(step.phase, step.meta, step.number, step.shards[shard])
        self.asked[reference] = step, shard

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self.since if self.asked else 0.0


class RayPool:
    """Task workers in a Ray of this machine's own, or in the cluster at `address`.

    A context manager: workers live between enter and exit.

    Args:
        recipes: by phase.
        workers: how many, one core each; more than `2 * group` are led by actors that need no core.
        address: of a running cluster; None uses the Ray this process is connected to, else starts one that
            ends with this pool.
        measured: normalizations by phase, so that no worker measures them again.
        group: workers of a leader.
        content: fingerprint of the data: workers refuse others, which a rebuilt pool holds.
    """

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        workers: int,
        address: str | None = None,
        measured: Mapping[str, Normalization] | None = None,
        group: int = GROUP,
        content: str | None = None,
    ) -> None:
        self._content = content
        self._recipes = dict(recipes)
        self._measured = dict(measured or {})
        self._size = workers
        leaders = math.ceil(workers / group) if workers > 2 * group else 0
        self._teams = [workers // leaders + (i < workers % leaders) for i in range(leaders)] or [0] * workers
        self._address = address
        self._workers: list[_Worker] = []
        self._paces: dict[str, Pace] = defaultdict(Pace)
        self._failed_starts = 0
        self._connection = ExitStack()

    def __enter__(self) -> Self:
        self._connection.enter_context(connected(self._address, self._size))
        try:
            self._workers = [self._start(team) for team in self._teams]
            self._await_one()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        for worker in self._workers:
            ray.kill(worker.actor)
        self._connection.close()

    def pids(self) -> list[int]:
        """The process ids of the workers that run; of their leaders, where they have some."""
        return [worker.pid for worker in self._running() if worker.pid is not None]

    def compute(
        self, phase: str, meta: MetaParams, step: int, shards: Sequence[list[int]]
    ) -> list[ShardResult]:
        """See `TaskWorkers`.

        Raises:
            TrainingError: a shard lost its worker three times: it is the shard that kills them.
        """
        pace = self._paces[phase]
        size = block_size(len(shards), len(self._teams), self._teams[0]) if self._teams[0] else 1
        blocks = [list(shards[first : first + size]) for first in range(0, len(shards), size)]
        current = _Step(phase, ray.put(_arrays(meta)), step, blocks, deque(range(len(blocks))))
        while len(current.results) < len(blocks):
            self._await_one()
            self._watch(current, pace)
            self._hand_out(current)
            for worker, reference in self._answers():
                self._take(worker, reference, current, pace)
        return [current.results[number] for number in range(len(blocks))]

    def _hand_out(self, current: _Step) -> None:
        """Shards that wait go to those with least to do; what late workers have, to those with nothing."""
        punctual = [worker for worker in self._running() if not worker.late]
        while current.waiting and punctual:
            worker = min(punctual, key=lambda one: len(one.asked))
            if len(worker.asked) == _AHEAD:
                return
            worker.ask(current, current.waiting.popleft())
        idle = [worker for worker in punctual if not worker.asked]
        missing = set(range(len(current.shards))) - current.results.keys()
        held = {shard for one in punctual for step, shard in one.asked.values() if step is current}
        for worker, shard in zip(idle, sorted(missing - held), strict=False):
            worker.ask(current, shard)

    def _watch(self, current: _Step, pace: Pace) -> None:
        """Say once who is late; replace who hangs."""
        for worker in self._running():
            silent = worker.silent_s
            if silent > pace.hung_after(worker.answered):
                log.warning(
                    "worker-hangs-and-is-replaced", extra={"pid": worker.pid, "silent_s": round(silent)}
                )
                current.return_shards(worker)
                self._replace(worker)
            elif worker.answered and not worker.late and silent > pace.overdue_after:
                worker.late = True
                usual = pace.usual if pace.usual is None else round(pace.usual, 2)
                log.warning(
                    "worker-is-late-and-its-shards-go-to-others",
                    extra={
                        "pid": worker.pid,
                        "step": current.number,
                        "silent_s": round(silent, 2),
                        "usual_s": usual,
                    },
                )

    def _answers(self) -> list[tuple[_Worker, Any]]:
        """Answers that are there; none if a worker started meanwhile, or it is time to look who is late."""
        owners = {reference: worker for worker in self._workers for reference in worker.asked}
        starting = [worker.starting for worker in self._workers if worker.pid is None]
        ray.wait([*owners, *starting], num_returns=1, timeout=_LOOK_S)
        done, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        return [(owners[reference], reference) for reference in done]

    def _take(self, worker: _Worker, reference: Any, current: _Step, pace: Pace) -> None:
        if reference not in worker.asked:
            return  # it was lost, with another of its shards
        step, shard = worker.asked[reference]
        try:
            gradient, figures = result_of(reference)
        except _LOST as error:
            current.return_shards(worker)
            self._replace(worker)
            if step is current:
                current.losses[shard] += 1
            if current.losses[shard] == _LOSSES_A_SHARD:
                tasks = list(chain.from_iterable(current.shards[shard]))
                raise TrainingError(
                    f"step {current.number}: workers died {_LOSSES_A_SHARD} times on the shard with tasks "
                    f"{tasks} of the meta-batch: most likely they are out of memory; lower training.shard "
                    "or use fewer workers"
                ) from error
            return
        if worker.answered and not worker.late and step.phase == current.phase:
            pace.add(worker.silent_s)
        del worker.asked[reference]
        worker.since, worker.answered, worker.late = time.monotonic(), True, False
        if step is current:
            current.results.setdefault(shard, ShardResult(_tensors(gradient), figures))

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
            worker.pid = result_of(worker.starting)
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

    def _start(self, team: int) -> _Worker:
        kind = ray.remote(num_cpus=0 if team else 1)(RayWorker)
        actor = kind.remote(self._recipes, self._measured, self._content, team)
        return _Worker(actor, actor.pid.remote(), team)

    def _replace(self, worker: _Worker) -> None:
        if worker in self._workers:  # else it was replaced already, for another of its shards
            ray.kill(worker.actor)  # unavailable is not dead: never wait for the old one again
            worker.asked.clear()
            self._workers[self._workers.index(worker)] = self._start(worker.team)


def _arrays(tensors: MetaParams) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _tensors(arrays: Arrays) -> MetaParams:
    """Copies: what Ray hands out lies in its store and must not be written to."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
