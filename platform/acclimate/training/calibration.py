"""How far labels may move each head, and how sure it may be of itself, by devices that nobody trained on.

A body fits the devices that it was trained on, so their heads stray less, or otherwise, than those of devices
to come; the prior's width learned on them is then wrong for all others. And heads are trained on the average
of their probabilities, which never asks a head to be right where another one is: one that is far too sure of
itself would speak for all of them on devices that it does not suit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acclimate.learners import ClosedFormLearner, MetaParams, under
from acclimate.learners.heads import HeadName
from acclimate.tasks import Episodes

WIDTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001, 3.0, 10.0, 30.0)
"""Of the prior's covariance, by what it is multiplied; the first wins where no other is better."""
TEMPERATURES = tuple(2.0 ** (third / 3) for third in range(-6, 22))


def calibrated(
    learner: ClosedFormLearner,
    meta: MetaParams,
    episodes: Iterable[Episodes],
    widths: Sequence[float] = WIDTHS,
) -> MetaParams:
    """The meta-parameters with which each head alone loses least on the queries, after the supports.

    Both become part of the heads' priors; heads of real targets have no temperature.

    Args:
        episodes: of devices that were not trained on, if `widths` has more than one.
        widths: to try.
    """
    with torch.no_grad():
        seen = [_Seen.of(learner, meta, episode) for episode in episodes]
        for name in learner.heads.names:
            found: list[tuple[float, MetaParams]] = []
            for width in widths:
                prior = under(meta, "prior.")
                wide = _with(meta, learner.heads.widened(prior, name, width))
                told, y = _told(learner, wide, name, seen)
                if not learner.heads.classes:
                    found.append((float(learner.loss(told[:, None], y[:, None]).mean()), wide))
                    continue
                sure, loss = temperature(told, y)
                found.append((loss, _with(wide, learner.heads.tempered(prior, name, sure))))
            losses = np.nan_to_num([loss for loss, _ in found], nan=np.inf)
            meta = found[int(np.argmin(losses))][1]
    return meta


def temperature(told: Tensor, y: Tensor) -> tuple[float, float]:
    """Of log probabilities `(examples, C)`: by what to divide them for the least cross entropy, and that.

    1 where there is nothing to tell by.
    """
    losses = [float(torch.nn.functional.cross_entropy(told / each, y)) for each in TEMPERATURES]
    if not np.isfinite(losses).all():
        return 1.0, float("nan")
    best = int(np.argmin(losses))
    return TEMPERATURES[best], losses[best]


@dataclass(frozen=True)
class _Seen:
    """An episode's features, which no head changes."""

    episode: Episodes
    support: Tensor
    query: Tensor

    @staticmethod
    def of(learner: ClosedFormLearner, meta: MetaParams, episode: Episodes) -> _Seen:
        support, query = (learner.features(meta, part.x) for part in (episode.support, episode.query))
        return _Seen(episode, support, query)


def _told(
    learner: ClosedFormLearner, meta: MetaParams, name: HeadName, seen: Sequence[_Seen]
) -> tuple[Tensor, Tensor]:
    """One head's answers to all queries, and what they were."""
    prior, start = under(meta, "prior."), learner.start(meta)
    told, labels = [], []
    for one in seen:
        (_, y, w), (_, asked, counts) = one.episode.support, one.episode.query
        state = learner.heads.adapted(prior, start, one.support, y, w)
        told.append(learner.heads.answers(prior, state, one.query)[name][counts > 0])
        labels.append(asked[counts > 0])
    return torch.cat(told), torch.cat(labels)


def _with(meta: MetaParams, prior: dict[str, Tensor]) -> MetaParams:
    return {**meta, **{f"prior.{name}": entry for name, entry in prior.items()}}
