"""A start against each of its rivals, paired by held-out task: what a verdict is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from acclimate.evaluation.contenders import Start
from acclimate.evaluation.report import Evaluation
from acclimate.evaluation.statistics import (
    CONFIDENCE,
    ROUNDING,
    Summary,
    Values,
    gain_bounds,
    gains_of,
    interval,
    longer_to_decide,
    mean_of,
    unit_means,
    units_to_decide,
)

WORTH = 0.05  # of a rival's error: a smaller gain is not worth a learner
_NO_DRAWS: Values = np.empty((0, 0))


@dataclass(frozen=True)
class Gain:
    """The start against one rival.

    Attributes:
        against: the rival; `meta` is the same start, not adapted.
        gains: by held-out task, above zero where the start is better; -inf where it overflowed.
        groups: of each task.
        margin: a smaller gain is not worth having.
        bounds: of a mean gain.
        draws: the gain in each episode of each task, `(draws, tasks)`; empty where reports do not tell.
        aside: the gain on the validation devices, that chose settings; None if unknown.
    """

    against: Start
    gains: Values
    groups: Sequence[str]
    margin: float
    bounds: tuple[float, float]
    draws: Values
    aside: float | None = None

    @property
    def mean(self) -> float:
        """Over tasks; what is left of gains and losses that cancel out, but for rounding, is none."""
        mean = mean_of(self.gains)
        return 0.0 if abs(mean) <= ROUNDING * np.abs(self.gains).max() and not self.overflowed else mean

    @property
    def overflowed(self) -> bool:
        """Whether the start did on any device: it loses to everybody then."""
        return not np.isfinite(self.gains).all()

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Of the mean, over groups."""
        if self.overflowed:
            return self.mean, self.mean
        return interval(self.gains, self.groups, confidence, self.bounds)

    def beaten(self, rivals: int = 1) -> bool:
        """Whether the rival is better, by an interval for `rivals` comparisons at once."""
        return self.interval(1 - (1 - CONFIDENCE) / rivals)[1] < 0

    def proven(self) -> bool:
        """Whether the start is better, by its interval."""
        return self.interval()[0] > 0

    def small(self) -> bool:
        """Better by less than is worth having, if at all, for certain."""
        return self.interval()[1] < self.margin

    def worthless(self) -> bool:
        """No better as far as it shows, here or on the validation devices, or `small`: what takes more has
        to prove its worth."""
        return self.mean <= 0 or self.small() or self.only_here()

    def only_here(self) -> bool:
        """Whether the validation devices, which are evidence too, saw nothing of a gain."""
        return self.mean > 0 and self.aside is not None and self.aside <= 0

    def needed(self) -> int | None:
        """Held-out devices that would most likely decide; None where no sensible number would."""
        return units_to_decide(unit_means(self.gains, self.groups), self.margin)

    def longer(self) -> float | None:
        """How many times as long recordings would decide as well; None where they would not."""
        return longer_to_decide(self.draws, self.groups, self.margin)


def gains_over_rivals(evaluation: Evaluation, shots: int) -> Iterator[Gain]:
    """Over every rival whose figures are finite."""
    own = evaluation.curve("meta", shots).judged
    for start in evaluation.starts:
        curve = evaluation.curve(start, shots)
        if start == "meta" or not np.isfinite(curve.judged.values).all():
            continue  # a rival that overflowed is none
        draws, aside = _draws(evaluation, start, shots), _aside(evaluation, start, shots)
        yield _gain(evaluation, start, own, curve.judged, draws, aside)


def gain_of_adapting(evaluation: Evaluation, shots: int) -> list[Gain]:
    """Over the same start without adaptation, where it adapts at all: one entry, or none."""
    curve = evaluation.curve("meta", shots)
    before = curve.points[0]
    if curve.steps[0] != 0 or len(curve.steps) == 1:
        return []
    if not np.isfinite([*curve.judged.values, *before.values]).all():
        return []
    return [_gain(evaluation, "meta", curve.judged, before, _NO_DRAWS, None)]


def _gain(
    evaluation: Evaluation, start: Start, own: Summary, theirs: Summary, draws: Values, aside: float | None
) -> Gain:
    better = evaluation.higher_is_better
    gains = gains_of(own.values, theirs.values, better)
    gains = np.where(np.isfinite(own.values), gains, -np.inf)
    margin = WORTH * (1 - theirs.mean if better else theirs.mean)
    return Gain(start, gains, evaluation.groups, margin, gain_bounds(better), draws, aside)


def _aside(evaluation: Evaluation, start: Start, shots: int) -> float | None:
    """The gain over a rival on the tasks that chose settings; None where nothing finite was chosen."""
    own, theirs = (evaluation.curve(each, shots).validation for each in ("meta", start))
    if own is None or theirs is None:
        return None
    return float(gains_of(own, theirs, evaluation.higher_is_better))


def _draws(evaluation: Evaluation, start: Start, shots: int) -> Values:
    """The gain over a rival in each episode, `(draws, tasks)`; none where reports do not tell."""
    own, theirs = (np.array(evaluation.curve(each, shots).draws) for each in ("meta", start))
    if own.shape != theirs.shape or own.ndim != 2:
        return _NO_DRAWS
    return gains_of(own, theirs, evaluation.higher_is_better)
