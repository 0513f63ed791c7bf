"""Tests that may be looked at after every report: e-processes and the confidence sequences they invert to.

An e-process starts at 1 and, if the null hypothesis holds, reaches 1 / alpha at any time with probability at
most alpha (Ville's inequality). So evidence can be read as often as reports arrive, and stopping early or
late costs nothing. All functions return logarithms and hold no state: they take sums.

* Differences of pairs: half-normal mixture over the self-normalized process of symmetric variables (Howard,
  Ramdas, McAuliffe, Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", sections
  3.2 and table 3; de la Peña 1999). It needs no variance and no moments: a canary and a control device drawn
  alike differ symmetrically, whatever the tails.
* Rates: beta mixture over the Bernoulli likelihood ratio (Robbins 1970; Howard et al. 2021, 3.2).
* Quantiles: the rate of values at or below a quantile is the quantile's level, so its confidence sequence
  follows from that of rates (Howard and Ramdas 2022, "Sequential estimation of quantiles").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

SCALE_PAIRS = 10
"""Pairs that set the scale of the mixture. Given their sizes their signs are still fair coins under the null,
so they count as evidence like all others."""
TUNED_PAIRS = 80
"""The mixture is tightest at about this many pairs: where harm of half a standard deviation shows."""


@dataclass(frozen=True, slots=True)
class PairSums:
    """What the test of paired differences needs of them.

    Attributes:
        count, total, squares: number, sum and sum of squares of all differences.
        scale_count, scale_total, scale_squares: the same over the first `SCALE_PAIRS`, and over more of them
            as long as all are ties: nothing else tells a scale.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    scale_count: int = 0
    scale_total: float = 0.0
    scale_squares: float = 0.0

    def add(self, difference: float) -> PairSums:
        """The sums with one difference more."""
        early = self.count < SCALE_PAIRS or not self.scale_squares
        return PairSums(
            self.count + 1,
            self.total + difference,
            self.squares + difference * difference,
            self.scale_count + early,
            self.scale_total + (difference if early else 0.0),
            self.scale_squares + (difference * difference if early else 0.0),
        )

    def shifted(self, center: float) -> PairSums:
        """The sums of `difference - center`."""
        early = self.scale_count
        return PairSums(
            self.count,
            self.total - self.count * center,
            max(0.0, self.squares - 2 * center * self.total + self.count * center * center),
            early,
            self.scale_total - early * center,
            max(0.0, self.scale_squares - 2 * center * self.scale_total + early * center * center),
        )

    def mirrored(self) -> PairSums:
        """The sums of the negated differences."""
        scale = self.scale_count, -self.scale_total, self.scale_squares
        return PairSums(self.count, -self.total, self.squares, *scale)


def pairs_log_e(sums: PairSums, alpha: float) -> float:
    """Log evidence that the differences are centred above 0. `alpha` only tunes the mixture."""
    if sums.count < SCALE_PAIRS:
        return 0.0
    rho = sums.scale_squares / sums.scale_count * TUNED_PAIRS / _tuning(alpha)
    return half_normal_mixture(sums.total, sums.squares, rho)


def half_normal_mixture(total: float, variance: float, rho: float) -> float:
    """Log of the mixture of exp(λ total - λ² variance / 2) over a half-normal λ of variance 1 / rho.

    Closed form: 2 √(ρ/(v+ρ)) exp(s²/(2(v+ρ))) Φ(s/√(v+ρ)).
    """
    if rho <= 0.0 or not math.isfinite(variance + rho):
        return 0.0
    z = total / math.sqrt(variance + rho)
    return math.log(2) + 0.5 * math.log(rho / (variance + rho)) + 0.5 * z * z + _log_normal_cdf(z)


def pairs_interval(sums: PairSums, alpha: float) -> tuple[float, float]:
    """Bounds on the centre of the differences, each missed at any time with probability at most alpha.

    Infinite while there are too few pairs to bound it.
    """
    return (
        _pairs_lower(sums, alpha),
        -_pairs_lower(sums.mirrored(), alpha),
    )


def rate_log_e(successes: int, trials: int, rate: float) -> float:
    """Log evidence against a success probability of `rate`: the beta(1/2, 1/2) mixture's likelihood ratio."""
    log_mixture = _log_beta(successes + 0.5, trials - successes + 0.5) - _LOG_PI
    return log_mixture - _log_likelihood(successes, trials, rate)


def rate_above_log_e(successes: int, trials: int, rate: float) -> float:
    """Log evidence that the success probability is above `rate`; 0 unless the observed one is.

    Reaching log(1 / alpha) means that the confidence sequence lies above `rate`, hence excludes every
    smaller probability too: the level holds for the whole null hypothesis.
    """
    return rate_log_e(successes, trials, rate) if trials and successes > rate * trials else 0.0


def rate_interval(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """Bounds on a success probability that all hold at all times with probability `1 - alpha`."""
    if trials == 0:
        return 0.0, 1.0
    observed = successes / trials
    needed = math.log(1 / alpha)

    def rejected(rate: float) -> bool:
        return rate_log_e(successes, trials, rate) >= needed

    lower = _bisect(0.0, observed, rejected) if successes else 0.0
    upper = _bisect(1.0, observed, rejected) if successes < trials else 1.0
    return lower, upper


def quantile_ranks(trials: int, level: float, alpha: float) -> tuple[int, int]:
    """Ranks from 1 between which the quantile lies, at all times with probability `1 - alpha`.

    Returns:
        (lower, upper): the quantile is at least the lower-th smallest value and at most the upper-th; 0 and
        `trials + 1` stand for no bound.
    """
    needed = math.log(1 / alpha)

    def rejected(at_or_below: int) -> bool:
        return rate_log_e(at_or_below, trials, level) >= needed

    typical = min(trials, max(0, round(level * trials)))
    low = _last(rejected, typical)
    high = trials - _last(lambda steps: rejected(trials - steps), trials - typical)
    return low + 1 if low >= 0 else 0, high if high <= trials else trials + 1


def _pairs_lower(sums: PairSums, alpha: float) -> float:
    if sums.count < SCALE_PAIRS:
        return -math.inf
    needed = math.log(1 / alpha)
    mean = sums.total / sums.count
    spread = math.sqrt(max(sums.squares / sums.count - mean * mean, 0.0)) or abs(mean) or 1.0

    def rejected(center: float) -> bool:
        return pairs_log_e(sums.shifted(center), alpha) >= needed

    reach = spread
    while not rejected(mean - reach):
        reach *= 4
        if reach > 1e6 * spread:
            return -math.inf
    return _bisect(mean - reach, mean, rejected)


def _bisect(rejected_at: float, kept_at: float, rejected: Callable[[float], bool]) -> float:
    """The border between a rejected and a kept value, on the rejected side."""
    for _ in range(50):
        middle = (rejected_at + kept_at) / 2
        if rejected(middle):
            rejected_at = middle
        else:
            kept_at = middle
    return rejected_at


def _last(holds: Callable[[int], bool], end: int) -> int:
    """The last integer in [0, end) at which `holds`, true up to it and false after; -1 if none."""
    first = 0
    while first < end:
        middle = (first + end) // 2
        if holds(middle):
            first = middle + 1
        else:
            end = middle
    return first - 1


def _tuning(alpha: float) -> float:
    """Intrinsic time over ρ at which a one-sided mixture is tightest, to first order (Howard et al., 3.5)."""
    level = 2 * math.log(1 / (2 * alpha))
    return level + math.log(1 + level)


def _log_normal_cdf(z: float) -> float:
    if z > -20:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2)))
    return -0.5 * z * z - math.log(-z) - 0.5 * math.log(2 * math.pi)  # erfc underflows; Mills' ratio


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(successes: int, trials: int, rate: float) -> float:
    failures = trials - successes
    if (successes and rate <= 0.0) or (failures and rate >= 1.0):
        return -math.inf
    result = successes * math.log(rate) if successes else 0.0
    return result + (failures * math.log1p(-rate) if failures else 0.0)


_LOG_PI = math.log(math.pi)
