"""How far labels may move each head, and how sure it may be of itself, by devices that nobody trained on.

A body fits the devices that it was trained on, so their heads stray less, or otherwise, than those of devices
to come; the prior's width learned on them is then wrong for all others. And a head that is far too sure of
itself would speak for both on devices that it does not suit. So widths and temperatures are chosen for what
devices say: the average of the heads, whose best parts are seldom the heads that are best alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from acclimate.learners import ClosedFormLearner, MetaParams, under
from acclimate.learners.heads import HeadName
from acclimate.tasks import Episodes

WIDTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001, 3.0, 10.0, 30.0, 100.0)
"""Of the prior's covariance, by what it is multiplied; the first wins where no other is better."""
LEVEL_WIDTHS = (1.0, 10.0, 100.0)
"""Of a number's level, by what its variance is multiplied once more: devices often differ in little else."""
TEMPERATURES = tuple(2.0 ** (third / 3) for third in range(-12, 22))
_STRIDES = (6, 3, 1)  # of a search among them
_SWEEPS = 3
_CAUTION = 0.01  # of the loss: what a factor of e has to bring where one device alone asks for it
_FLOOR = 0.05  # nats: devices on which nothing is lost must not ask for everything
_WORTH = 1e-3  # of the loss: what one more sweep is made for
_Choice = dict[HeadName, tuple[int, int]]
"""Of each head, the positions of its width and its temperature."""


@dataclass(frozen=True)
class Unseen:
    """A start, and episodes of devices that it was not trained on."""

    meta: MetaParams
    episodes: Sequence[Episodes]


@dataclass(frozen=True)
class Fit:
    """By what a head's prior covariance is multiplied, its level's once more, and its logits are divided."""

    width: float
    temperature: float = 1.0
    level: float = 1.0

    def within(self, learner: ClosedFormLearner, meta: MetaParams, name: HeadName) -> MetaParams:
        """The meta-parameters with this width of one head."""
        return _with(meta, learner.heads.widened(under(meta, "prior."), name, self.width, self.level))


@dataclass(frozen=True)
class Calibration:
    """Of every head, and by what the log of their average is divided (classes only)."""

    heads: Mapping[HeadName, Fit]
    temperature: float = 1.0

    def of(self, learner: ClosedFormLearner, meta: MetaParams) -> MetaParams:
        """The meta-parameters with these in their priors."""
        for name, fit in self.heads.items():
            meta = fit.within(learner, meta, name)
            if learner.heads.classes:
                meta = _with(meta, learner.heads.tempered(under(meta, "prior."), name, fit.temperature))
        if not learner.heads.classes:
            return meta
        like = next(iter(meta.values()))
        return _with(meta, {"temperature": torch.tensor(self.temperature).to(like)})


def calibrated(
    learner: ClosedFormLearner,
    meta: MetaParams,
    episodes: Sequence[Episodes],
    widths: Sequence[float] = WIDTHS,
) -> MetaParams:
    """`calibration` of one start, within its priors."""
    return calibration(learner, [Unseen(meta, episodes)], widths).of(learner, meta)


def calibration(
    learner: ClosedFormLearner, unseen: Sequence[Unseen], widths: Sequence[float] = WIDTHS
) -> Calibration:
    """With which least is lost on the queries, after the supports, over all starts together.

    Several starts are one recipe's, each trained without its own devices, where none can be spared. Real
    targets have no temperature, and one head. The search begins at what is best for each head alone, and the
    fewer devices there are, the more a change has to bring.

    Args:
        unseen: with devices that were trained on, if `widths` has only one.
        widths: to try.
    """
    with torch.no_grad():
        seen = [_Seen.of(learner, one.meta, episode) for one in unseen for episode in one.episodes]
        y = torch.cat([one.labels for one in seen])
        devices = sum(len(one.episodes[0].task_ids) for one in unseen)
        if not learner.heads.classes:
            fits = _of_numbers(widths)
            means = [_told(learner, "last", seen, fit) for fit in fits]
            losses = [float(learner.loss(each[:, None], y[:, None]).mean()) for each in means]
            caution = [_cautious(fit.width, devices) * _cautious(fit.level, devices) for fit in fits]
            best = _least([loss * factor for loss, factor in zip(losses, caution, strict=True)])
            return Calibration({"last": fits[best]})
        names = learner.heads.names
        told = {name: [_told(learner, name, seen, Fit(width)) for width in widths] for name in names}
        together = _Together(told, y, widths, devices)
        choice = together.best()
        chosen = {name: Fit(widths[width], TEMPERATURES[at]) for name, (width, at) in choice.items()}
        return Calibration(chosen, together.averaged(choice)[0])


def _of_numbers(widths: Sequence[float]) -> list[Fit]:
    """What is tried for real targets: no level wider than the widest slopes, which float32 still bears."""
    levels = LEVEL_WIDTHS if len(widths) > 1 else LEVEL_WIDTHS[:1]
    return [
        Fit(width, level=level)
        for width in widths
        for level in levels
        if level == 1 or width * level <= max(widths)
    ]


def temperature(told: Tensor, y: Tensor, devices: int) -> tuple[float, float]:
    """Of log probabilities `(examples, C)`: by what to divide them for the least cross entropy, and that.

    The loss counts as `_cautious` has it; 1 where there is nothing to tell by.
    """

    def lost(at: int) -> float:
        loss = float(torch.nn.functional.cross_entropy(told / TEMPERATURES[at], y))
        return (_FLOOR + loss) * _cautious(TEMPERATURES[at], devices)

    at, loss = _lowest(lost, TEMPERATURES.index(1.0))
    return (TEMPERATURES[at], loss) if math.isfinite(loss) else (1.0, math.nan)


def _cautious(factor: float, devices: int) -> float:
    """What a loss is multiplied by for a factor that so many devices ask for: few may be unlike the rest."""
    return 1 + _CAUTION / devices * math.log(factor) ** 2


@dataclass(frozen=True)
class _Seen:
    """An episode's features, which no head changes, and the start that they are of."""

    meta: MetaParams
    episode: Episodes
    support: Tensor
    query: Tensor

    @staticmethod
    def of(learner: ClosedFormLearner, meta: MetaParams, episode: Episodes) -> _Seen:
        support, query = (learner.features(meta, part.x) for part in (episode.support, episode.query))
        return _Seen(meta, episode, support, query)

    @property
    def labels(self) -> Tensor:
        """Of the queries that count."""
        return self.episode.query.y[self.episode.query.w > 0]


def _told(learner: ClosedFormLearner, name: HeadName, seen: Sequence[_Seen], fit: Fit) -> Tensor:
    """One head's answers to all queries that count."""
    alone = replace(learner.heads, names=(name,))
    told = []
    for one in seen:
        meta = fit.within(learner, one.meta, name)
        prior, (_, y, w) = under(meta, "prior."), one.episode.support
        state = alone.adapted(prior, learner.start(meta), one.support, y, w)
        told.append(alone.answers(prior, state, one.query)[name][one.episode.query.w > 0])
    return torch.cat(told)


@dataclass(frozen=True)
class _Together:
    """What heads say of the same queries, by width, and what those are."""

    told: Mapping[HeadName, Sequence[Tensor]]
    y: Tensor
    widths: Sequence[float]
    devices: int

    def alone(self) -> _Choice:
        """What is best for each head alone."""
        found: _Choice = {}
        for name, answers in self.told.items():
            tried = [temperature(each, self.y, self.devices) for each in answers]
            width = _least([loss * self._caution(width) for width, (_, loss) in enumerate(tried)])
            found[name] = width, TEMPERATURES.index(tried[width][0])
        return found

    def averaged(self, choice: _Choice) -> tuple[float, float]:
        """The temperature of the heads' average, and the loss at that."""
        chosen = [self.told[name][width] / TEMPERATURES[at] for name, (width, at) in choice.items()]
        answers = torch.stack([each.log_softmax(-1) for each in chosen])
        average = answers.logsumexp(0) - math.log(len(answers))
        final, loss = temperature(average, self.y, self.devices)
        for width, at in choice.values():
            loss *= self._caution(width) * _cautious(TEMPERATURES[at], self.devices)
        return final, loss

    def best(self) -> _Choice:
        """By coordinates, from what is best alone: each head's width, then its temperature."""
        choice = self.alone()
        if len(choice) == 1:
            return choice
        lost = self.averaged(choice)[1]
        for _ in range(_SWEEPS):
            before = lost
            for name, answers in self.told.items():
                losses = [self._with(choice, name, width, choice[name][1]) for width in range(len(answers))]
                if min(losses) < lost:
                    choice = choice | {name: (_least(losses), choice[name][1])}
                width, at = choice[name]
                at, lost = _lowest(partial(self._with, choice, name, width), at)
                choice = choice | {name: (width, at)}
            if not lost < before - _WORTH:
                break
        return choice

    def _caution(self, width: int) -> float:
        return _cautious(self.widths[width], self.devices)

    def _with(self, choice: _Choice, name: HeadName, width: int, at: int) -> float:
        return self.averaged(choice | {name: (width, at)})[1]


def _lowest(loss: Callable[[int], float], at: int) -> tuple[int, float]:
    """Downhill from one of `TEMPERATURES`, in ever smaller strides: its position and loss."""
    least = loss(at)
    for stride in _STRIDES:
        moved = True
        while moved:
            moved = False
            for other in (at - stride, at + stride):
                if 0 <= other < len(TEMPERATURES) and (found := loss(other)) < least:
                    at, least, moved = other, found, True
    return at, least


def _least(losses: Sequence[float]) -> int:
    """The first of the lowest; what is not finite loses."""
    return min(range(len(losses)), key=lambda at: losses[at] if math.isfinite(losses[at]) else math.inf)


def _with(meta: MetaParams, prior: dict[str, Tensor]) -> MetaParams:
    return {**meta, **{f"prior.{name}": entry for name, entry in prior.items()}}
