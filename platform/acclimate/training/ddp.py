"""The second engine, for models too large to hand to task workers at every step: Ray Train.

Every worker holds the meta-parameters and the outer optimizer, computes its part of the step's shards, and
all-reduces the sum of their meta-gradients; then all take the same outer step. A lost worker ends its group,
which Ray Train starts anew, with fewer workers if the recipe allows; it goes on at the last checkpoint. The
sum runs in another order with other numbers of workers, so unlike the task workers' its last bits differ.

Steps and checkpoints travel through one actor beside the driver, which writes them where every other run
writes its own: no storage that all nodes share is needed, and no earlier run's checkpoint is ever picked up.
"""

from __future__ import annotations

import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch.utils._pytree import tree_map_only

from acclimate.errors import AcclimateError, TrainingError
from acclimate.initialization import Normalization
from acclimate.learners import MetaParams
from acclimate.training.checkpoint import Checkpoint
from acclimate.training.loop import OuterState, StepReport, TrainPhase, Validate, train
from acclimate.training.problem import Problem, open_problem
from acclimate.training.ray_connection import connected
from acclimate.training.recipe import Recipe
from acclimate.training.shard import ShardResult, ShardWorker
from acclimate.training.validation import validator

_RESTARTS = 10
_POLL_S = 0.2
_RESIZE_S = 60.0


class Ledger:
    """The actor between the workers and the driver: the newest checkpoint, new steps, the wish to stop."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._steps: list[StepReport] = []
        self._stop = False
        self._outcome: bool | AcclimateError | None = None

    def start(self) -> Checkpoint:
        """Where workers begin, the first time and after every loss."""
        return self._checkpoint

    def add_step(self, report: StepReport) -> bool:
        """Note a step; tells whether to stop."""
        self._steps.append(report)
        return self._stop

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def end(self, outcome: bool | AcclimateError) -> None:
        """All steps are taken, it was stopped, or the user has something to mend."""
        self._outcome = outcome

    def stop(self) -> None:
        self._stop = True

    def news(self, step: int) -> tuple[list[StepReport], Checkpoint | None]:
        """The steps since the last call, and the checkpoint if it is newer than `step`."""
        steps, self._steps = self._steps, []
        return steps, self._checkpoint if self._checkpoint.step > step else None

    def outcome(self) -> bool | AcclimateError | None:
        return self._outcome


@contextmanager
def ddp_engine(problems: Mapping[str, Problem], address: str | None) -> Iterator[TrainPhase]:
    """Ray Train in the cluster at `address`, or in a Ray of this machine's own."""
    # Ray Train looks after its workers every 2 s by default; a lost one should not cost that on top.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    with connected(address, next(iter(problems.values())).recipe.training.workers):
        yield partial(_train_phase, problems)


def _train_phase(
    problems: Mapping[str, Problem],
    phase: str,
    state: OuterState,
    *,
    on_step: Callable[[StepReport], None],
    on_checkpoint: Callable[[OuterState], None],
    should_stop: Callable[[], bool],
) -> bool:
    recipe = problems[phase].recipe
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    ledger = ray.remote(num_cpus=0)(Ledger).options(scheduling_strategy=here).remote(state.checkpoint(recipe))
    driver = _Driver(recipe, state, ledger, on_step, on_checkpoint)
    fitting = _Fitting(recipe, problems[phase].normalization, phase, ledger)
    fitting.start()
    asked = False
    while fitting.is_alive():
        fitting.join(_POLL_S)
        driver.catch_up()
        if should_stop() and not asked:
            ledger.stop.remote()
            asked = True
    driver.catch_up()
    outcome = ray.get(ledger.outcome.remote())
    if isinstance(outcome, AcclimateError):
        raise outcome
    if outcome is None:
        raise TrainingError(
            f"Ray Train gave up on {recipe.name!r} ({fitting.problem}): a checkpoint of step {state.step} is "
            "written; go on with --resume"
        )
    return outcome


@dataclass
class _Driver:
    """Draws the steps and writes the checkpoints that the workers send."""

    recipe: Recipe
    state: OuterState
    ledger: Any
    on_step: Callable[[StepReport], None]
    on_checkpoint: Callable[[OuterState], None]
    _drawn: int = field(default=0, init=False)

    def catch_up(self) -> None:
        steps, checkpoint = ray.get(self.ledger.news.remote(self.state.step))
        for report in steps:
            # After a loss some steps are taken again: they were drawn already.
            if report.step > max(self._drawn, self.state.step):
                self.on_step(report)
                self._drawn = report.step
        if checkpoint is not None:
            restored = OuterState.restore(checkpoint, self.recipe.training.optimizer)
            self.state.meta, self.state.optimizer = restored.meta, restored.optimizer
            self.state.average = restored.average
            self.state.step, self.state.best = restored.step, restored.best
            self.on_checkpoint(self.state)


class _Fitting(threading.Thread):
    """Ray Train's `fit`, which blocks, beside the driver, which draws."""

    def __init__(self, recipe: Recipe, measured: Normalization, phase: str, ledger: Any) -> None:
        super().__init__(name="ray-train", daemon=True)
        self._measured = measured
        self._recipe, self._phase, self._ledger = recipe, phase, ledger
        self.problem = ""

    def run(self) -> None:
        training = self._recipe.training
        workers = (
            training.workers if training.min_workers is None else (training.min_workers, training.workers)
        )
        with tempfile.TemporaryDirectory() as unused:  # Ray Train's own checkpoints: there are none
            trainer = TorchTrainer(
                _work,
                train_loop_config={
                    "recipe": self._recipe,
                    "measured": self._measured,
                    "ledger": self._ledger,
                },
                scaling_config=ScalingConfig(
                    num_workers=workers,
                    use_gpu=training.gpu,
                    elastic_resize_monitor_interval_s=_RESIZE_S,
                ),
                run_config=RunConfig(
                    # Of its own: Ray Train silently goes on with an earlier run of the same name.
                    name=f"{self._recipe.name}-{self._phase}-{uuid.uuid4().hex[:8]}",
                    storage_path=unused,
                    failure_config=FailureConfig(max_failures=_RESTARTS),
                ),
            )
            try:
                trainer.fit()
            except Exception as error:  # Ray Train raises many kinds; the driver tells the user
                self.problem = str(error).strip().partition("\n")[0]


def _work(given: dict[str, Any]) -> None:
    """What every worker runs."""
    recipe, ledger = given["recipe"], given["ledger"]
    device = get_device() if recipe.training.gpu else torch.device("cpu")
    first = dist.get_rank() == 0
    state = OuterState.restore(_moved(ray.get(ledger.start.remote()), device), recipe.training.optimizer)
    problem = open_problem(recipe, given["measured"])
    exchange = _Exchange(problem, device)
    validate = validator(problem)

    def on_step(report: StepReport) -> None:
        if first:
            exchange.stop_asked = ray.get(ledger.add_step.remote(report))

    def on_checkpoint(state: OuterState) -> None:
        if first:
            ray.get(ledger.add_checkpoint.remote(_moved(state.checkpoint(recipe), torch.device("cpu"))))

    try:
        done = train(
            recipe,
            state,
            exchange.compute,
            validate=None if validate is None else partial(_agreed, validate, device),
            on_step=on_step,
            on_checkpoint=on_checkpoint,
            should_stop=lambda: exchange.stop_agreed,
        )
    except AcclimateError as error:  # for the user, and the same on every worker: no use in starting again
        if first:
            ray.get(ledger.end.remote(error))
        return
    if first:
        ray.get(ledger.end.remote(done))


def _agreed(validate: Validate, device: torch.device, meta: MetaParams) -> float:
    """The first worker's look: all must end early after the same step."""
    loss = torch.zeros(1, dtype=torch.float64, device=device)
    if dist.get_rank() == 0:
        loss += validate({name: tensor.detach().cpu() for name, tensor in meta.items()})
    dist.broadcast(loss, 0)
    return float(loss)


class _Exchange:
    """Computes this worker's part of a step and adds up all workers' parts.

    The wish to stop travels with the sums, so that all workers end after the same step.
    """

    def __init__(self, problem: Problem, device: torch.device) -> None:
        self._worker = ShardWorker.of(problem, device)
        self._metric = problem.loss.metric_name
        self._device = device
        self.stop_asked = False
        self.stop_agreed = False

    def compute(self, meta: MetaParams, step: int, shards: Sequence[list[int]]) -> list[ShardResult]:
        summed = {name: torch.zeros_like(tensor) for name, tensor in meta.items()}
        told = dict.fromkeys(("stop", "tasks", "loss", self._metric), 0.0) | {"stop": float(self.stop_asked)}
        for indices in shards[dist.get_rank() :: dist.get_world_size()]:  # none, if there are more workers
            result = self._worker.compute(meta, step, indices)
            for name, tensor in result.gradient.items():
                summed[name] += tensor
            for name, value in result.figures.items():
                told[name] += value
        figures = torch.tensor(list(told.values()), dtype=torch.float64, device=self._device)
        dist.all_reduce(figures)
        flat = torch.cat([tensor.reshape(-1) for tensor in summed.values()])  # one message, not one a tensor
        dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in summed.values()])
        gradient = {
            name: part.reshape(tensor.shape)
            for (name, tensor), part in zip(summed.items(), parts, strict=True)
        }
        told = dict(zip(told, figures.tolist(), strict=True))
        self.stop_agreed = told.pop("stop") > 0
        return [ShardResult(gradient, told)]


def _moved(checkpoint: Checkpoint, device: torch.device) -> Checkpoint:
    """The checkpoint on another device; the optimizer's state follows its parameters when it is restored."""
    on_device = tree_map_only(torch.Tensor, lambda each: each.to(device), vars(checkpoint))
    return Checkpoint(**on_device)
