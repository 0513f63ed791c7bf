"""What closed-form heads still need once trained: calibration, and how fast a device should forget.

Both are chosen on the validation tasks; where none are set aside on the training tasks, by starts that were
trained without them where there are any; never on those that judge. A pure function of (recipe,
meta-parameters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from acclimate.learners import ClosedFormLearner, MetaParams, under
from acclimate.tasks import Episodes, TaskPool, stream
from acclimate.tasks.episodes import Indices
from acclimate.training.calibration import WIDTHS, Unseen, calibration
from acclimate.training.problem import Problem

GAMMAS = (1.0, 0.999, 0.998, 0.995, 0.99, 0.98)
"""What of a device's own is left after one more label; the first is the exact posterior."""
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
_STREAM = 400  # labels of a task, at most
_TASKS = 24
_DRAWS = 3


@dataclass(frozen=True)
class Fold:
    """A start, and the problem on whose validation tasks it was not trained."""

    problem: Problem
    meta: MetaParams


def ready(problem: Problem, meta: MetaParams, folds: Sequence[Fold] = ()) -> MetaParams:
    """The meta-parameters as devices adapt and predict with them.

    Each head has a width and a temperature of its own, within its prior, beside `prior.temperature` of
    their average. Other learners' are returned as they are.

    Args:
        folds: where no validation tasks are aside: the recipe trained without some of its tasks, in turn.
    """
    learner = problem.learner()
    return _ready(problem, learner, meta, folds)[0] if isinstance(learner, ClosedFormLearner) else meta


def finished(problem: Problem, meta: MetaParams, folds: Sequence[Fold] = ()) -> MetaParams:
    """`ready`, and with the quantiles of real targets' errors and each head's forgetting."""
    learner = problem.learner()
    if not isinstance(learner, ClosedFormLearner):
        return meta
    meta, looks = _ready(problem, learner, meta, folds)
    errors = {} if learner.heads.classes else _errors(learner, looks)
    return _known(meta, errors | _forgetting(problem, learner, looks))


@dataclass(frozen=True)
class _Look:
    """A start and the tasks on which something is chosen for it."""

    problem: Problem
    meta: MetaParams
    tasks: Indices

    def episodes(self) -> list[Episodes]:
        """Of every support size that training draws."""
        samplers = [self.problem.sampler(self.tasks, shots) for shots in _sizes(self.problem)]
        return [sampler.every_task(draw) for sampler in samplers for draw in range(_DRAWS)]


def _ready(
    problem: Problem, learner: ClosedFormLearner, meta: MetaParams, folds: Sequence[Fold]
) -> tuple[MetaParams, list[_Look]]:
    if len(problem.split.validation):
        folds = [Fold(problem, meta)]
    looks = [_Look(fold.problem, fold.meta, fold.problem.split.validation) for fold in folds]
    widths = WIDTHS if looks else WIDTHS[:1]  # devices that were trained on tell no width
    looks = looks or [_Look(problem, meta, problem.split.train)]
    most = max(1, _TASKS // len(looks))
    looks = [replace(look, tasks=look.tasks[:most]) for look in looks]
    found = calibration(learner, [Unseen(look.meta, look.episodes()) for look in looks], widths)
    return found.of(learner, meta), [replace(look, meta=found.of(learner, look.meta)) for look in looks]


def _known(meta: MetaParams, prior: dict[str, Tensor]) -> MetaParams:
    like = next(iter(meta.values()))
    return {**meta, **{f"prior.{name}": value.to(like) for name, value in prior.items()}}


def _errors(learner: ClosedFormLearner, looks: Sequence[_Look]) -> dict[str, Tensor]:
    """Of real targets, from queries after supports of every size that training draws."""
    outputs, variances, targets = [], [], []
    for meta, episode in ((look.meta, episode) for look in looks for episode in look.episodes()):
        after = learner.adapt(meta, episode.support)[1]
        kept = episode.query.w > 0
        outputs.append(learner.predict(after, episode.query.x)[kept])
        targets.append(episode.query.y[kept])
        features = learner.features(after, episode.query.x)
        variances.append(learner.heads.variance(under(after, "state."), features)[kept])
    errors = (torch.cat(outputs) - torch.cat(targets)).abs() / torch.cat(variances).sqrt()
    noise = errors.mean(0).clamp_min(1e-6)
    quantiles = torch.quantile(errors / noise, torch.tensor(LEVELS).to(errors), dim=0).T
    return {"noise": noise, "interval": quantiles, "levels": torch.tensor(LEVELS)}


def _sizes(problem: Problem) -> Sequence[int]:
    classes = problem.data.schema.kind == "classification"
    vary = problem.recipe.episodes.training_plan(True, classes).vary
    return [shots for shots in vary if shots] or [problem.recipe.episodes.shots]


def _forgetting(problem: Problem, learner: ClosedFormLearner, looks: Sequence[_Look]) -> dict[str, Tensor]:
    """The rate at which each head predicts the tasks' streams best, label by label."""
    names = learner.heads.names
    if not isinstance(problem.data, TaskPool) or problem.recipe.episodes.ways is not None:
        return {f"{name}.forgetting": torch.tensor(1.0) for name in names}
    streams = [
        _stream_losses(look.problem, learner, look.meta, int(task)) for look in looks for task in look.tasks
    ]
    best = torch.stack(streams).mean(0).argmin(-1)
    return {f"{name}.forgetting": torch.tensor(GAMMAS[int(best[at])]) for at, name in enumerate(names)}


def _stream_losses(problem: Problem, learner: ClosedFormLearner, meta: MetaParams, task: int) -> Tensor:
    """Mean loss of each head for each rate, `(heads, rates)`: predict, then learn, through one stream."""
    assert isinstance(problem.data, TaskPool)
    examples = list(stream(problem.data, task, problem.normalization))
    thinned = examples[:: max(1, len(examples) // _STREAM)][:_STREAM]
    x = torch.from_numpy(np.stack([each.x for each in thinned]))
    y = torch.from_numpy(np.stack([each.y for each in thinned]))
    rates = len(GAMMAS)
    heads, prior = learner.heads, under(meta, "prior.")
    with torch.no_grad():
        features = learner.features(meta, x[None])
        start = learner.start(meta)
        state = {name: tensor.expand(rates, *tensor.shape) for name, tensor in start.items()}
        gamma = torch.tensor(GAMMAS).to(features).reshape(rates, 1, 1)
        rows = []
        for at in range(len(thinned)):
            seen = features[:, at : at + 1].expand(rates, -1, -1)
            label = y[None, at : at + 1].expand(rates, *y[at : at + 1].shape)
            told = heads.answers(prior, state, seen)
            rows.append(torch.stack([learner.loss(told[name], label)[:, 0] for name in heads.names]))
            state = heads.updated(prior, start, state, seen, label, dict.fromkeys(heads.names, gamma))
        return torch.stack(rows).mean(0)
