"""User-level differential privacy of a device that takes part in rounds with Gaussian noise.

Each round adds normal noise to a sum in which a device's part is clipped: sigma is `noise` times the clipping
norm. A device that takes part k times is protected like one release with noise / sqrt(k), and that release's
(epsilon, delta) has a closed form (Balle and Wang 2018, https://arxiv.org/abs/1805.06530; Dong et al. 2019,
https://arxiv.org/abs/1905.02383). Nothing is gained from which devices were drawn, because a device that is
asked, and whoever sees its traffic, knows it.

The standard library alone: the rollout service keeps the same accounts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_MOST = 1e4
"""An epsilon beyond this protects nothing; it is given as infinite."""


def epsilon(noise: float, rounds: int, delta: float) -> float:
    """What a device spends that takes part in `rounds` rounds; 0 for none, infinite without noise.

    Args:
        noise: standard deviation of the noise on the sum over the longest part that a device can have in it.
        delta: chance that the bound does not hold, in (0, 1).

    Raises:
        ValueError: delta is no such chance, or noise or rounds are negative.
    """
    if not 0 < delta < 1 or noise < 0 or rounds < 0:
        raise ValueError(f"epsilon of noise {noise}, {rounds} rounds, delta {delta}: delta is in (0, 1)")
    if rounds == 0:
        return 0.0
    if noise == 0:
        return math.inf
    mu = math.sqrt(rounds) / noise
    if mu > _MOST:  # epsilon is about mu^2 / 2, and a float may not hold that
        return math.inf
    if _delta(0.0, mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while _delta(high, mu) > delta:
        low, high = high, 2 * high
        if high > _MOST:
            return math.inf
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _delta(middle, mu) > delta else (low, middle)
    return high


def epsilon_of_all(noises: Sequence[float], delta: float) -> float:
    """What a device has spent that took part in one round of each noise; infinite if one had none.

    Gaussian releases compose as one with mu^2 = sum of 1 / noise^2 (Dong et al. 2019).
    """
    if not noises:
        return 0.0
    if min(noises) <= 0:
        return math.inf
    return epsilon(1.0 / math.hypot(*(1.0 / noise for noise in noises)), 1, delta)


def noise_for(most: float, rounds: int, delta: float) -> float:
    """The least noise at which a device in `rounds` rounds spends no more than epsilon `most`."""
    low, high = 0.0, 1.0
    while epsilon(high, rounds, delta) > most:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon(middle, rounds, delta) > most else (low, middle)
    return high


def _delta(eps: float, mu: float) -> float:
    """The least delta at which a Gaussian release of sensitivity `mu` is (eps, delta)-private."""
    return _upper(eps / mu - mu / 2) - math.exp(min(eps + _log_upper(eps / mu + mu / 2), 0.0))


def _upper(x: float) -> float:
    """1 - Phi(x)."""
    return math.erfc(x / math.sqrt(2)) / 2


def _log_upper(x: float) -> float:
    """log(1 - Phi(x)), by Mills' ratio where the tail is too small for a float."""
    if x < 30:
        return math.log(_upper(x))
    return -x * x / 2 - math.log(x * math.sqrt(2 * math.pi)) + math.log1p(-1 / (x * x) + 3 / x**4)
