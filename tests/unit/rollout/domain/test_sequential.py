"""The tests that may be looked at at any time: against integrals, hand values, and simulated looks."""

import math
import random
from itertools import pairwise

import pytest

from acclimate.rollout.domain.sequential import (
    SCALE_PAIRS,
    PairSums,
    half_normal_mixture,
    pairs_interval,
    pairs_log_e,
    quantile_ranks,
    rate_above_log_e,
    rate_interval,
    rate_log_e,
)


def sums_of(differences: list[float]) -> PairSums:
    sums = PairSums()
    for difference in differences:
        sums = sums.add(difference)
    return sums


def integral(function, low: float, high: float, steps: int = 200_000) -> float:
    width = (high - low) / steps
    return sum(function(low + (step + 0.5) * width) for step in range(steps)) * width


@pytest.mark.parametrize(("total", "variance", "rho"), [(0.0, 4.0, 1.0), (6.0, 9.0, 2.0), (-5.0, 3.0, 0.5)])
def test_the_mixture_is_the_integral_over_its_half_normal(total: float, variance: float, rho: float):
    density = lambda rate: 2 * math.sqrt(rho / (2 * math.pi)) * math.exp(-rho * rate**2 / 2)  # noqa: E731
    expected = integral(
        lambda rate: math.exp(rate * total - rate**2 * variance / 2) * density(rate), 0.0, 40.0
    )
    assert half_normal_mixture(total, variance, rho) == pytest.approx(math.log(expected), abs=1e-6)


def test_the_mixture_stays_finite_far_below_zero():
    values = [half_normal_mixture(total, 100.0, 1.0) for total in (-100.0, -199.0, -202.0, -1000.0)]
    assert all(math.isfinite(value) for value in values)
    assert all(later < earlier for earlier, later in pairwise(values))


def test_a_rate_is_the_integral_over_its_beta():
    density = lambda rate: 1 / (math.pi * math.sqrt(rate * (1 - rate)))  # noqa: E731
    mixture = integral(lambda rate: rate**3 * (1 - rate) ** 5 * density(rate), 0.0, 1.0)
    assert rate_log_e(3, 8, 0.2) == pytest.approx(math.log(mixture / (0.2**3 * 0.8**5)), abs=1e-4)


def test_rates_by_hand():
    assert rate_log_e(1, 1, 0.5) == pytest.approx(0.0)  # E[p] / 0.5 = 0.5 / 0.5
    assert rate_log_e(2, 2, 0.5) == pytest.approx(math.log(3 / 8 * 4))  # E[p²] = 3/8 under beta(1/2, 1/2)
    assert rate_above_log_e(1, 4, 0.5) == 0.0
    assert rate_above_log_e(0, 0, 0.5) == 0.0


def test_ten_failures_against_none_prove_harm_at_one_percent():
    assert math.exp(rate_above_log_e(10, 10, 0.5)) > 100
    assert math.exp(rate_above_log_e(9, 9, 0.5)) < 100


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (3, 20), (20, 20), (50, 400)])
def test_an_interval_ends_where_the_evidence_reaches_its_level(successes: int, trials: int):
    lower, upper = rate_interval(successes, trials, 0.05)
    assert lower <= successes / trials <= upper
    for bound in (lower, upper):
        if 0 < bound < 1:
            assert rate_log_e(successes, trials, bound) == pytest.approx(math.log(20), abs=1e-6)


def test_no_trials_bound_nothing():
    assert rate_interval(0, 0, 0.05) == (0.0, 1.0)
    assert quantile_ranks(0, 0.5, 0.05) == (0, 1)


@pytest.mark.parametrize(("trials", "level"), [(5, 0.5), (40, 0.5), (100, 0.9), (300, 0.1)])
def test_ranks_are_those_that_brute_force_finds(trials: int, level: float):
    kept = [k for k in range(trials + 1) if rate_log_e(k, trials, level) < math.log(1 / 0.05)]
    assert quantile_ranks(trials, level, 0.05) == (min(kept), max(kept) + 1)


def test_shifting_and_mirroring_equal_sums_of_the_changed_differences():
    rng = random.Random(1)
    differences = [rng.gauss(0.3, 2) for _ in range(37)]
    for count in (0, 4, SCALE_PAIRS, 37):
        sums = sums_of(differences[:count])
        for made, direct in (
            (sums.shifted(0.7), sums_of([one - 0.7 for one in differences[:count]])),
            (sums.mirrored(), sums_of([-one for one in differences[:count]])),
        ):
            for name in PairSums.__slots__:
                assert getattr(made, name) == pytest.approx(getattr(direct, name), abs=1e-9)


def test_the_scale_is_that_of_the_first_pairs_and_of_as_many_more_as_are_ties():
    sums = sums_of([1.0] * SCALE_PAIRS + [9.0])
    assert (sums.scale_count, sums.scale_total, sums.scale_squares) == (SCALE_PAIRS,) * 3
    late = sums_of([0.0] * SCALE_PAIRS + [3.0, 9.0])
    assert (late.scale_count, late.scale_total, late.scale_squares) == (SCALE_PAIRS + 1, 3.0, 9.0)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("pairs", [12, 16, 50])
def test_the_evidence_does_not_depend_on_the_unit(pairs, unit):
    rng = random.Random(2)
    differences = [rng.gauss(0.5, 1) for _ in range(pairs)]
    one, other = sums_of(differences), sums_of([unit * value for value in differences])
    assert pairs_log_e(one, 0.05) == pytest.approx(pairs_log_e(other, 0.05))
    low, high = pairs_interval(one, 0.05)
    assert pairs_interval(other, 0.05) == pytest.approx((unit * low, unit * high))


def test_an_interval_of_pairs_holds_what_is_not_rejected():
    rng = random.Random(3)
    sums = sums_of([rng.gauss(0.5, 1) for _ in range(100)])
    lower, upper = pairs_interval(sums, 0.05)
    assert lower < sums.total / 100 < upper
    assert pairs_log_e(sums.shifted(lower), 0.05) == pytest.approx(math.log(20), abs=1e-6)
    assert pairs_log_e(sums.shifted(upper).mirrored(), 0.05) == pytest.approx(math.log(20), abs=1e-6)


def test_few_pairs_bound_nothing_and_equal_ones_need_no_division():
    assert pairs_interval(sums_of([1.0] * 9), 0.05) == (-math.inf, math.inf)
    assert pairs_log_e(sums_of([0.0] * 50), 0.05) == 0.0
    lower, upper = pairs_interval(sums_of([0.0] * 50), 0.05)
    assert lower == pytest.approx(0.0, abs=1e-9)
    assert upper == pytest.approx(0.0, abs=1e-9)


def test_six_pairs_of_one_sign_are_no_evidence_and_twenty_are():
    assert pairs_log_e(sums_of([1.0] * 6), 0.05) == 0.0
    assert pairs_log_e(sums_of([1.0] * 20), 0.05) > math.log(20)


@pytest.mark.parametrize("noise", ["normal", "heavy", "two-valued"])
def test_a_look_at_every_pair_seldom_errs(noise: str):
    """300 null runs of 150 pairs at 10 %: at most 10 % may ever reach the level (and z tests do 50 %)."""
    rng = random.Random(4)
    draw = {
        "normal": lambda: rng.gauss(0, 1),
        "heavy": lambda: rng.gauss(0, 1) / max(abs(rng.gauss(0, 1)), 1e-12),  # Cauchy: no mean at all
        "two-valued": lambda: rng.choice((0.0, 1.0)),
    }[noise]
    wrong = 0
    for _ in range(300):
        sums, alarm = PairSums(), False
        for _ in range(150):
            sums = sums.add(draw() - draw())
            alarm = alarm or pairs_log_e(sums, 0.1) >= math.log(10)
        wrong += alarm
    assert wrong <= 30


def test_a_rates_interval_seldom_misses_at_any_time():
    rng, missed = random.Random(5), 0
    for _ in range(400):
        successes, miss = 0, False
        for trial in range(1, 200):
            successes += rng.random() < 0.3
            miss = miss or rate_log_e(successes, trial, 0.3) >= math.log(10)
        missed += miss
    assert missed <= 40


def test_a_quantiles_band_seldom_misses_at_any_time():
    rng, missed = random.Random(6), 0
    for _ in range(200):
        below, miss = 0, False
        for trial in range(1, 120):
            below += rng.random() <= 0.9  # a uniform value at or below its own 0.9 quantile
            low, high = quantile_ranks(trial, 0.9, 0.1)
            miss = miss or not (below >= low and below < high)
        missed += miss
    assert missed <= 20
