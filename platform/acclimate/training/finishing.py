"""What closed-form heads still need once trained: calibration, and how fast a device should forget.

Both are chosen on the validation tasks, or on the training tasks where none are set aside, never on those
that judge; a pure function of (recipe, meta-parameters).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from acclimate.learners import ClosedFormLearner, MetaParams, under
from acclimate.tasks import Episodes, TaskPool, stream
from acclimate.tasks.episodes import Indices
from acclimate.training.calibration import WIDTHS, calibrated, temperature
from acclimate.training.problem import Problem

GAMMAS = (1.0, 0.999, 0.998, 0.995, 0.99, 0.98)
"""What of a device's own is left after one more label; the first is the exact posterior."""
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
_STREAM = 400  # labels of a task, at most
_TASKS = 24
_DRAWS = 3


def finished(problem: Problem, meta: MetaParams) -> MetaParams:
    """The meta-parameters with temperatures or the errors' quantiles, and each head's forgetting.

    Each head has a width and a temperature of its own, within its prior, beside `prior.temperature` of
    their average.
    Other learners' are returned as they are.
    """
    learner = problem.learner()
    if not isinstance(learner, ClosedFormLearner):
        return meta
    split = problem.split
    tasks = (split.validation if len(split.validation) else split.train)[:_TASKS]
    widths = WIDTHS if len(split.validation) else WIDTHS[:1]  # devices that were trained on tell no width
    meta = calibrated(learner, meta, _episodes(problem, tasks), widths)
    errors = _calibration(problem, learner, meta, tasks)
    return _known(meta, errors | _forgetting(problem, learner, meta, tasks))


def _known(meta: MetaParams, prior: dict[str, Tensor]) -> MetaParams:
    like = next(iter(meta.values()))
    return {**meta, **{f"prior.{name}": value.to(like) for name, value in prior.items()}}


def _episodes(problem: Problem, tasks: Indices) -> Iterator[Episodes]:
    """Of every support size that training draws."""
    for shots in _sizes(problem):
        sampler = problem.sampler(tasks, shots)
        yield from (sampler.every_task(draw) for draw in range(_DRAWS))


def _calibration(
    problem: Problem, learner: ClosedFormLearner, meta: MetaParams, tasks: Indices
) -> dict[str, Tensor]:
    """From queries after supports of every size that training draws."""
    outputs, variances, targets = [], [], []
    for episode in _episodes(problem, tasks):
        after = learner.adapt(meta, episode.support)[1]
        kept = episode.query.w > 0
        outputs.append(learner.predict(after, episode.query.x)[kept])
        targets.append(episode.query.y[kept])
        if not learner.heads.classes:
            features = learner.features(after, episode.query.x)
            variances.append(learner.heads.variance(under(after, "state."), features)[kept])
    told, y = torch.cat(outputs), torch.cat(targets)
    if learner.heads.classes:
        return {"temperature": torch.tensor(temperature(told, y)[0])}
    errors = (told - y).abs() / torch.cat(variances).sqrt()
    noise = errors.mean(0).clamp_min(1e-6)
    quantiles = torch.quantile(errors / noise, torch.tensor(LEVELS).to(errors), dim=0).T
    return {"noise": noise, "interval": quantiles, "levels": torch.tensor(LEVELS)}


def _sizes(problem: Problem) -> Sequence[int]:
    classes = problem.data.schema.kind == "classification"
    vary = problem.recipe.episodes.training_plan(True, classes).vary
    return [shots for shots in vary if shots] or [problem.recipe.episodes.shots]


def _forgetting(
    problem: Problem, learner: ClosedFormLearner, meta: MetaParams, tasks: Indices
) -> dict[str, Tensor]:
    """The rate at which each head predicts the tasks' streams best, label by label."""
    names = learner.heads.names
    if not isinstance(problem.data, TaskPool) or problem.recipe.episodes.ways is not None:
        return {f"{name}.forgetting": torch.tensor(1.0) for name in names}
    scores = torch.stack([_stream_losses(problem, learner, meta, int(task)) for task in tasks]).mean(0)
    best = scores.argmin(-1)
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
