"""The outer loop: a pure function of (recipe, seed), whoever computes the shards.

The meta-batch of a step is cut into shards of one size; their sums are added up along one tree, on the
driver, which alone owns the meta-parameters and the outer optimizer. So the bits of the result depend neither
on how many workers there were nor on which of them died.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from acclimate.errors import TrainingError
from acclimate.learners import MetaParams
from acclimate.training.checkpoint import Checkpoint
from acclimate.training.recipe import Recipe, TrainingSection
from acclimate.training.sections import OptimizerSection
from acclimate.training.shard import ShardResult, deterministic
from acclimate.training.sums import add_up

_EAGER = 10  # steps until a running mean keeps half of itself at most
_FIRST_LR = 1 / 25  # of the step size, where a warm-up begins
_LOOKS = 20  # at the validation tasks in a run, where the recipe says nothing else

ComputeShards = Callable[[MetaParams, int, Sequence[list[int]]], list[ShardResult]]
"""The results of a step's shards in their order, or the sums of blocks of them, see `TaskWorkers`."""


@dataclass(frozen=True)
class StepReport:
    """One outer step, done.

    Attributes:
        step: outer steps done so far, from 1.
        figures: means over the step's tasks: `loss` and the metric, after adaptation.
        gradient_norm: L2 norm of the mean meta-gradient, before clipping.
    """

    step: int
    figures: dict[str, float]
    gradient_norm: float


Validate = Callable[[MetaParams], float]
"""A loss of meta-parameters on tasks that are not trained on; infinite where it is not finite."""


@dataclass(frozen=True)
class Best:
    """The meta-parameters that did best on the validation tasks so far.

    Attributes:
        step: the outer step they were seen after.
        loss: their loss on the validation tasks.
    """

    step: int
    loss: float
    meta: MetaParams


@dataclass
class OuterState:
    """The meta-parameters and the optimizer that moves them in place; `step` counts the steps done.

    Attributes:
        average: the running mean of the meta-parameters; None where the recipe asks for none.
        best: what did best on the validation tasks so far; None where nobody looked.
    """

    meta: MetaParams
    optimizer: torch.optim.Optimizer
    step: int
    average: MetaParams | None = None
    best: Best | None = None

    @property
    def current(self) -> MetaParams:
        """What the last step made: the running mean, or the meta-parameters."""
        return self.meta if self.average is None else self.average

    @property
    def result(self) -> MetaParams:
        """What training made so far: the best on the validation tasks, or the current ones."""
        return self.current if self.best is None else self.best.meta

    @staticmethod
    def begin(start: MetaParams, recipe: OptimizerSection) -> OuterState:
        """Before the first step."""
        meta = {name: tensor.detach().clone() for name, tensor in start.items()}
        return OuterState(meta, make_optimizer(recipe, list(meta.values())), 0)

    @staticmethod
    def restore(checkpoint: Checkpoint, recipe: OptimizerSection) -> OuterState:
        """As it was when the checkpoint was made."""
        state = OuterState.begin(checkpoint.meta, recipe)
        state.optimizer.load_state_dict(checkpoint.optimizer)
        state.step = checkpoint.step
        state.average = checkpoint.average
        state.best = None if checkpoint.best is None else Best(**checkpoint.best)
        return state

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        """The state, to be written."""
        return Checkpoint(
            self.step,
            dict(self.meta),
            self.optimizer.state_dict(),
            recipe.determines(),
            average=self.average,
            best=None if self.best is None else vars(self.best),
        )

    def is_done(self, training: TrainingSection) -> bool:
        """Whether all steps are taken, or the validation tasks have waited in vain for better ones."""
        if self.best is not None and training.patience is not None:
            waited = self.step - self.best.step
            if waited >= training.patience * validate_every(training):
                return True
        return self.step >= training.last_step


class TrainPhase(Protocol):
    """Takes a phase's remaining steps in place; see `train` for the arguments."""

    def __call__(
        self,
        phase: str,
        state: OuterState,
        *,
        on_step: Callable[[StepReport], None],
        on_checkpoint: Callable[[OuterState], None],
        should_stop: Callable[[], bool],
    ) -> bool: ...


def train(
    recipe: Recipe,
    state: OuterState,
    compute: ComputeShards,
    *,
    validate: Validate | None = None,
    on_step: Callable[[StepReport], None],
    on_checkpoint: Callable[[OuterState], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Take the recipe's remaining steps, in place.

    Args:
        compute: computes the shards of a step, anywhere.
        validate: looked at every `validate_every` steps, before the first and after the last one too: what
            it finds best is kept in `state.best`, and training ends early by `patience`. None chooses
            nothing.
        on_step: called after every step.
        on_checkpoint: called every `checkpoint_every` steps, when stopping early, and at the end.
        should_stop: asked between steps, so that a stop never tears a step.

    Returns:
        Whether training is done; else it was stopped.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    training = recipe.training
    shards = shards_of(training)
    if validate and state.step == 0 and state.best is None:
        _look(state, validate)
    while not state.is_done(training):
        if should_stop():
            on_checkpoint(state)
            return False
        report = _take_step(recipe, state, compute, shards)
        if validate and (state.step % validate_every(training) == 0 or state.step == training.last_step):
            report.figures["validation_loss"] = _look(state, validate)
        on_step(report)
        if state.step % training.checkpoint_every == 0 or state.is_done(training):
            on_checkpoint(state)
    return True


def validate_every(training: TrainingSection) -> int:
    """Steps between two looks at the validation tasks."""
    return training.validate_every or math.ceil(training.steps / _LOOKS)


def still_falling(checkpoint: Checkpoint, training: TrainingSection) -> bool:
    """Whether all steps were taken and the validation loss was best at the last look.

    A step size that falls towards the end lowers any loss there, so that nothing can be told by it.
    """
    if checkpoint.best is None or training.optimizer.final_lr is not None:
        return False
    at_an_end = training.stop_at is None and checkpoint.step >= training.steps
    return at_an_end and checkpoint.step - checkpoint.best["step"] < validate_every(training)


def _look(state: OuterState, validate: Validate) -> float:
    loss = validate(state.current)
    if state.best is None or loss < state.best.loss:
        state.best = Best(
            state.step, loss, {name: each.detach().clone() for name, each in state.current.items()}
        )
    return loss


def shards_of(training: TrainingSection) -> list[list[int]]:
    """The meta-batch's indices in shards of `training.shard`."""
    return [
        list(range(start, start + training.shard)) for start in range(0, training.meta_batch, training.shard)
    ]


def learning_rate(recipe: OptimizerSection, step: int, steps: int) -> float:
    """The outer step size at `step` of `steps`, from 0: constant, or along a cosine to `final_lr`, after a
    rise along a cosine where there is a warm-up (Smith and Topin 2018, https://arxiv.org/abs/1708.07120)."""
    rising = recipe.warmup * steps
    if step < rising:
        first = recipe.lr * _FIRST_LR
        return first + (recipe.lr - first) * (1 - math.cos(math.pi * step / rising)) / 2
    if recipe.final_lr is None or steps < 2:
        return recipe.lr
    progress = (step - rising) / max(1.0, steps - 1 - rising)
    return recipe.final_lr + (recipe.lr - recipe.final_lr) * (1 + math.cos(math.pi * progress)) / 2


def make_optimizer(recipe: OptimizerSection, parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
    """The outer optimizer; its step size is set anew each step."""
    decay = recipe.weight_decay
    if recipe.name == "sgd":
        return torch.optim.SGD(parameters, lr=recipe.lr, weight_decay=decay, momentum=recipe.momentum)
    kind = torch.optim.Adam if recipe.name == "adam" else torch.optim.AdamW
    # One kernel a parameter and not a dozen: half of a small network's step would be theirs.
    return kind(parameters, lr=recipe.lr, weight_decay=decay, fused=True)


def _take_step(
    recipe: Recipe, state: OuterState, compute: ComputeShards, shards: Sequence[list[int]]
) -> StepReport:
    training = recipe.training
    results = compute(state.meta, state.step, shards)
    with deterministic():
        gradient, figures = _mean(results)
        norm = _norm(gradient)
        if not math.isfinite(norm) or not math.isfinite(figures["loss"]):
            raise TrainingError(
                f"step {state.step + 1}: loss {figures['loss']:g}, meta-gradient {norm:g}: training "
                "diverged; lower training.optimizer.lr or learner.inner_lr, or set optimizer.clip_norm"
            )
        limit = training.optimizer.clip_norm
        factor = min(1.0, limit / norm) if limit is not None and norm > 0 else 1.0
        for name, parameter in state.meta.items():
            parameter.grad = gradient[name] * factor
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(training.optimizer, state.step, training.steps)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if training.average:
            _average(state, training.average)
    return StepReport(state.step, figures, norm)


def _average(state: OuterState, share: float) -> None:
    """Let the running mean keep `share` of itself, less in the first steps so that it leaves the start."""
    kept = min(share, state.step / (state.step + _EAGER))
    before = state.average if state.average is not None else state.meta
    state.average = {name: torch.lerp(now, before[name], kept) for name, now in state.meta.items()}


def _mean(results: Sequence[ShardResult]) -> tuple[MetaParams, dict[str, float]]:
    """Means over all tasks."""
    added = add_up(results)
    tasks = added.figures["tasks"]
    figures = {name: value / tasks for name, value in added.figures.items() if name != "tasks"}
    return {name: tensor / tasks for name, tensor in added.gradient.items()}, figures


def _norm(gradient: MetaParams) -> float:
    return float(
        torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradient.values()]))
    )
