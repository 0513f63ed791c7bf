"""The accounts of differential privacy, against Google's accountant."""

from __future__ import annotations

import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from acclimate.privacy import epsilon, noise_for, rounds_within


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
    assert epsilon(1000.0, 1, 0.1) == 0.0
    with pytest.raises(ValueError, match="delta"):
        epsilon(1.0, 1, 0.0)


@pytest.mark.parametrize(("noise", "most"), [(4.0, 3.0), (1.0, 8.0), (20.0, 1.0)])
def test_the_rounds_within_a_bound_are_the_last_that_keep_it(noise: float, most: float) -> None:
    rounds = rounds_within(noise, most, 1e-5)
    assert epsilon(noise, rounds, 1e-5) <= most < epsilon(noise, rounds + 1, 1e-5)
    assert rounds_within(0.0, most, 1e-5) == 0
    assert epsilon(noise_for(most, rounds, 1e-5), rounds, 1e-5) == pytest.approx(most, rel=1e-6)
