"""The one round of closed-form heads: devices give moments, and the last layer's prior follows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.learners import ClosedFormLearner, MetaParams, last_layer
from acclimate.learners.statistics import last_layer_prior
from acclimate.training.federated.attacks import attacked, flipped, lying_tasks
from acclimate.training.federated.round import Round, combined
from acclimate.training.loop import OuterState, StepReport
from acclimate.training.problem import Problem
from acclimate.training.shard import deterministic
from acclimate.training.validation import figures_after
from acclimate_device.federated import moments, unpacked

TAUS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Examples that the fleet may count like."""
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1)


def statistics_round(
    problem: Problem,
    state: OuterState,
    on_step: Callable[[StepReport], None],
    on_checkpoint: Callable[[OuterState], None],
) -> bool:
    """Take the round in place, whatever `training.steps` says, and choose how much the fleet counts."""
    section = problem.recipe.federated
    assert section is not None
    with deterministic():
        done = combined(section, device_moments(problem, state.meta), problem.recipe.seed, 0)
        meta, figures = chosen(problem, state.meta, done)
    for name, tensor in meta.items():
        state.meta[name].copy_(tensor)
    state.step, state.best = problem.recipe.training.last_step, None
    on_step(StepReport(state.step, {**figures, **done.figures()}, float(np.linalg.norm(done.result))))
    on_checkpoint(state)
    return True


def device_moments(problem: Problem, meta: MetaParams) -> NDArray[np.float64]:
    """What every training device has, `(devices, p)`, liars among them where the recipe rehearses some."""
    learner, section = _learner(problem), problem.recipe.federated
    examples = problem.training_examples()
    lying = np.zeros(len(examples.x), np.bool_)
    if section and section.attack:
        lying[sorted(lying_tasks(problem.recipe.seed, len(lying), section.attackers))] = True
        if section.attack == "label-flip":
            examples = flipped(examples, lying, learner.heads.outputs)
    rows = []
    with torch.no_grad():
        for x, y, w in zip(*examples, strict=True):
            phi = last_layer.extended(learner.features(meta, x[None]))[0]
            rows.append(moments(phi.numpy(), centred(learner, y, phi).numpy(), w.numpy()))
    vectors = np.stack(rows)
    if section is None or section.attack is None:
        return vectors
    return attacked(section.attack, vectors, lying, problem.recipe.seed, 0)


def chosen(problem: Problem, meta: MetaParams, done: Round) -> tuple[MetaParams, dict[str, float]]:
    """The meta-parameters whose tau and ridge do best on the validation tasks, and their figures there."""
    learner, recipe = _learner(problem), problem.recipe
    tasks = problem.split.validation if len(problem.split.validation) else problem.split.train
    episodes = [problem.sampler(tasks, shots).every_task() for shots in recipe.evaluation.shots]
    best: tuple[float, MetaParams, dict[str, float]] | None = None
    for tau in TAUS:
        for ridge in RIDGES:
            tried = with_prior(learner, meta, done.result, tau, ridge)
            figures = figures_after(problem, learner, tried, episodes)
            score = figures["accuracy"] if learner.heads.classes else -figures["loss"]
            if best is None or score > best[0]:
                best = score, tried, {**figures, "tau": tau, "ridge": ridge}
    assert best is not None
    return best[1], best[2]


def with_prior(
    learner: ClosedFormLearner, meta: MetaParams, vector: NDArray[np.float64], tau: float, ridge: float
) -> MetaParams:
    """The meta-parameters with the last layer that a fleet's moments `(p,)` say."""
    weight = meta[f"param.{learner.head}.weight"]
    gram, products = unpacked(vector, weight.shape[1] + 1, weight.shape[0])
    mean, factor = last_layer_prior(torch.from_numpy(gram), torch.from_numpy(products), tau, ridge)
    return meta | {
        f"param.{learner.head}.weight": mean[:-1].T.to(weight.dtype).contiguous(),
        f"param.{learner.head}.bias": mean[-1].to(weight.dtype).contiguous(),
        "prior.last.factor": factor.to(weight.dtype),
    }


def centred(learner: ClosedFormLearner, y: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """What the last layer regresses on, `(n, C)`."""
    targets = learner.heads.targets(y, like)
    return targets - 1 / learner.heads.outputs if learner.heads.classes else targets


def _learner(problem: Problem) -> ClosedFormLearner:
    learner = problem.learner()
    assert isinstance(learner, ClosedFormLearner)
    return learner
