"""What gates compare, against the standard library's statistics and numbers worked out by hand."""

import math
import statistics

import pytest

from acclimate.rollout.domain.evidence import Arm, Observation
from acclimate.rollout.domain.plan import Gate, Metric
from acclimate.rollout.domain.sequential import quantile_ranks, rate_interval
from acclimate.rollout.domain.statistics import ArmSums, GateStatistic, metric_of, statistic_of

VALUES = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]


def one(arm: Arm = "canary", **fields: object) -> Observation:
    return Observation("d", arm, 1, 0.0, 1, "", order=1, **fields)


def seen(gate: Gate, canary: list[float], control: list[float]) -> GateStatistic:
    """The statistic after both arms' losses, latencies or drifts."""
    statistic = statistic_of(gate)
    arms: tuple[tuple[Arm, list[float]], ...] = (("canary", canary), ("control", control))
    for arm, values in arms:
        for value in values:
            statistic.add(one(arm, examples=1, loss_sum=value, latency_ms=value, drift=bool(value)))
    return statistic


def test_sums_give_the_mean_and_the_sample_deviation():
    sums = ArmSums()
    assert (sums.mean, sums.deviation) == (None, 0.0)
    sums.add(3.0)
    assert (sums.mean, sums.deviation) == (3.0, 0.0)
    for value in VALUES[1:]:
        sums.add(value)
        assert sums.deviation == pytest.approx(statistics.stdev(VALUES[: sums.count]))
    assert sums.count == len(VALUES)
    assert sums.mean == pytest.approx(statistics.mean(VALUES))
    assert sums.deviation == pytest.approx(statistics.stdev(VALUES))


def test_two_equal_values_have_a_deviation_of_nothing():
    sums = ArmSums()
    for value in (0.1, 0.1, 0.1):  # whose sum of squares rounds below the square of their sum
        sums.add(value)
    assert sums.deviation == pytest.approx(0.0, abs=1e-8)


def test_a_mean_tolerates_a_share_of_controls_deviation():
    mean = seen(Gate("loss", tolerance=0.5), [2.0] * 8, VALUES)
    assert mean.margin == pytest.approx(0.5 * statistics.stdev(VALUES))
    assert (mean.estimate("canary"), mean.estimate("control")) == pytest.approx((2.0, 3.875))
    assert mean.says(0.02) == "mean loss is 1.875 lower than control's over 8 pairs"
    assert seen(Gate("loss"), [5.0], [3.0]).says(0.02) == "mean loss is 2 higher than control's over 1 pairs"


def test_pairs_are_made_in_the_order_of_settling():
    uneven = seen(Gate("drift"), [1, 1, 0, 1], [0, 1, 1])
    assert (uneven.worse, uneven.better) == (1, 1)  # type: ignore[attr-defined] # of a rate
    assert uneven.says(0.02) == "drift at 3 of 4 canaries and 2 of 3 controls"
    assert uneven.estimate("canary") == 0.75


def test_a_rate_bounds_the_difference_by_both_arms():
    canary, control = rate_interval(20, 30, 0.01), rate_interval(5, 30, 0.01)
    bounds = seen(Gate("drift"), [1] * 20 + [0] * 10, [1] * 5 + [0] * 25).bounds(0.02)
    assert bounds == (canary[0] - control[1], canary[1] - control[0])
    assert seen(Gate("drift", tolerance=0.1), [0], [0]).margin == 0.1


def test_a_limited_rate_looks_at_canaries_alone():
    rate = seen(Gate("drift", limit=0.2), [1, 0, 0, 0], [1, 1, 1])
    assert rate.margin == 0.2
    assert rate.says(0.02) == "drift at 1 of 4 canaries, limit 0.2"
    assert rate.bounds(0.02) == seen(Gate("drift", limit=0.2), [1, 0, 0, 0], []).bounds(0.02)
    assert not rate.proves_harm(0.02)
    assert seen(Gate("drift", limit=0.2), [1] * 20, []).proves_harm(0.02)


@pytest.mark.parametrize(("level", "expected"), [(0.25, 2.0), (0.5, 4.0), (0.99, 9.0)])
def test_a_quantile_is_a_value_that_was_seen(level: float, expected: float):
    quantile = seen(Gate("latency", quantile=level, tolerance=0.1), VALUES, VALUES)
    assert quantile.estimate("canary") == expected  # of 1 1 2 3 4 5 6 9
    assert quantile.margin == pytest.approx(0.1 * expected)
    assert quantile.log_e(0.02) is None


def test_no_values_have_no_quantile_and_no_margin():
    empty = seen(Gate("latency", quantile=0.5, tolerance=0.1), [], [])
    assert empty.estimate("canary") is None
    assert empty.margin == 0.0
    assert empty.bounds(0.02) == (-math.inf, math.inf)


def test_quantiles_prove_harm_when_their_bands_part_and_not_when_they_touch():
    gate = Gate("latency", quantile=0.5)
    slow, fast = [2.0 + number / 100 for number in range(99)], [1.0 + number / 100 for number in range(99)]
    assert seen(gate, slow, fast).proves_harm(0.02)
    assert not seen(gate, [1.0] * 99, [1.0] * 99).proves_harm(0.02)
    lower, upper = quantile_ranks(99, 0.5, 0.01)  # each arm errs half as often as both may
    apart = (slow[lower - 1] - fast[upper - 1], slow[upper - 1] - fast[lower - 1])
    assert seen(gate, slow, fast).bounds(0.02) == apart
    assert apart[0] > 0


def test_a_limited_quantile_proves_harm_above_its_limit_alone():
    values = [float(number) for number in range(100)]
    low, high = seen(Gate("latency", quantile=0.5, limit=50.0), values, []).bounds(0.02)
    lower, upper = quantile_ranks(100, 0.5, 0.02)
    assert (low, high) == (values[lower - 1], values[upper - 1])
    assert low < 50.0 < high
    assert seen(Gate("latency", quantile=0.5, limit=50.0), [1.0], []).bounds(0.02) == (-math.inf, math.inf)
    assert seen(Gate("latency", quantile=0.5, limit=low - 1), values, []).proves_harm(0.02)
    assert not seen(Gate("latency", quantile=0.5, limit=low), values, []).proves_harm(0.02)
    said = seen(Gate("latency", quantile=0.5, limit=50.0), values, []).says(0.02)
    assert said == f"latency p50 at most 50 lies between {low:.4g} and {high:.4g}"


def test_a_limit_of_nothing_tolerates_nothing():
    assert seen(Gate("drift", limit=0.0), [0, 0], []).margin == 0.0
    none = seen(Gate("latency", quantile=0.5, limit=0.0), VALUES, [])
    assert none.margin == 0.0
    assert seen(Gate("latency", quantile=0.5, limit=0.0), [0.5] * 99, []).proves_harm(0.02)


def test_what_is_not_finite_is_no_value():
    infinite = seen(Gate("latency"), [math.inf, math.nan, 1.0], [])
    assert infinite.canary.count == 1


@pytest.mark.parametrize(
    ("metric", "fields", "value"),
    [
        ("silence", {"silence": True}, 1.0),
        ("silence", {}, 0.0),
        ("failure", {"silence": True, "failure": True}, None),
        ("failure", {"failure": True}, 1.0),
        ("drift", {"drift": True}, 1.0),
        ("drift", {"drift": True, "failure": True}, None),
        ("drift", {"drift": True, "silence": True}, None),
        ("fallback", {"adapted": True}, 1.0),
        ("fallback", {"adapted": True, "paid": True}, 0.0),
        ("fallback", {}, 0.0),
        ("loss", {"examples": 4, "loss_sum": 2.0}, 0.5),
        ("loss", {}, None),
        ("latency", {"latency_ms": 0.25}, 0.25),
    ],
)
def test_a_devices_value_of_each_metric(metric: Metric, fields: dict[str, object], value: float | None):
    assert metric_of(one(**fields), metric) == value
