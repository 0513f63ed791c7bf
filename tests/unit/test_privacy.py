"""The accounts of differential privacy, against Google's accountant."""

from __future__ import annotations

import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from acclimate.privacy import epsilon, epsilon_of_all, noise_for


@pytest.mark.parametrize(
    ("noise", "rounds", "delta"), [(1.0, 1, 1e-3), (2.0, 10, 1e-5), (4.0, 60, 1e-5), (0.6, 3, 1e-6)]
)
def test_epsilon_is_the_accountants(noise: float, rounds: int, delta: float) -> None:
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise), rounds))
    theirs = accountant.get_epsilon(delta)
    assert epsilon(noise, rounds, delta) == pytest.approx(theirs, rel=1e-3)


def test_nothing_is_spent_by_nobody_and_everything_without_noise() -> None:
    assert epsilon(1.0, 0, 1e-5) == 0.0
    assert math.isinf(epsilon(0.0, 1, 1e-5))
    assert math.isinf(epsilon(0.001, 1, 1e-5))
    assert math.isinf(epsilon(1e-300, 10**9, 0.9))
    assert math.isinf(epsilon_of_all([1e-300, 2.0], 1e-5))
    assert epsilon(1000.0, 1, 0.1) == 0.0
    with pytest.raises(ValueError, match="delta"):
        epsilon(1.0, 1, 0.0)


@pytest.mark.parametrize(("rounds", "most"), [(3, 3.0), (1, 8.0), (20, 1.0)])
def test_the_noise_for_a_bound_is_the_least_that_keeps_it(rounds: int, most: float) -> None:
    assert epsilon(noise_for(most, rounds, 1e-5), rounds, 1e-5) == pytest.approx(most, rel=1e-6)


def test_rounds_of_one_noise_add_up_like_rounds_of_several() -> None:
    assert epsilon_of_all([2.0] * 4, 1e-5) == pytest.approx(epsilon(2.0, 4, 1e-5), rel=1e-9)
    assert epsilon_of_all([], 1e-5) == 0.0
    assert epsilon_of_all([2.0, 0.0], 1e-5) == math.inf
    assert epsilon(1.0, 1, 1e-5) < epsilon_of_all([1.0, 3.0], 1e-5) < epsilon(1.0, 2, 1e-5)
