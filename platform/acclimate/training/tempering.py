"""Each head's temperature: how sure it may be of itself.

Heads are trained on the average of their probabilities, which never asks a head to be right where another
one is. A head that is far too sure of itself would speak for all of them on devices that it does not suit.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from acclimate.learners import ClosedFormLearner, MetaParams, under
from acclimate.learners.heads import HeadName
from acclimate.tasks import Episodes

TEMPERATURES = tuple(2.0 ** (third / 3) for third in range(-6, 22))


def tempered(learner: ClosedFormLearner, meta: MetaParams, episodes: Iterable[Episodes]) -> MetaParams:
    """The meta-parameters with which each head alone loses least on the queries, after the supports.

    The temperatures become part of the heads' scales; heads of real targets have none.
    """
    if not learner.heads.classes:
        return meta
    prior = under(meta, "prior.")
    told: dict[HeadName, list[Tensor]] = {name: [] for name in learner.heads.names}
    labels: list[Tensor] = []
    for episode in episodes:
        kept = episode.query.w > 0
        after = learner.adapt(meta, episode.support)[1]
        with torch.no_grad():
            features = learner.features(after, episode.query.x)
            answers = learner.heads.answers(prior, under(after, "state."), features)
        labels.append(episode.query.y[kept])
        for name, answer in answers.items():
            told[name].append(answer[kept])
    y = torch.cat(labels)
    temperatures = {name: temperature(torch.cat(answers), y) for name, answers in told.items()}
    made = learner.heads.tempered(prior, temperatures)
    return {**meta, **{f"prior.{name}": entry for name, entry in made.items()}}


def temperature(told: Tensor, y: Tensor) -> float:
    """Of log probabilities `(examples, C)`: by what to divide them, for the least cross entropy.

    1 where there is nothing to tell by.
    """
    losses = [float(torch.nn.functional.cross_entropy(told / each, y)) for each in TEMPERATURES]
    return TEMPERATURES[int(np.argmin(losses))] if np.isfinite(losses).all() else 1.0
