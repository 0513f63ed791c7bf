import pytest

from acclimate.bundle.expectation import expected_curve
from acclimate.errors import BundleError


def evaluation(*shots, start="meta"):
    point = {"mean": 0.5, "quantiles": {"0.05": 0.2, "0.5": 0.5, "0.95": 0.9}, "low": 0.4, "high": 0.6}
    curves = [
        {"start": start, "shots": each, "steps": [0, 5], "points": [point, {**point, "mean": 0.8}]}
        for each in shots
    ]
    return {
        "format": 1,
        "metric": "accuracy",
        "higher_is_better": True,
        "tasks": ["a", "b"],
        "curves": curves,
    }


@pytest.mark.parametrize(("measured", "policy", "chosen"), [((1, 5), 5, 5), ((1, 5), 3, 1), ((5, 10), 2, 5)])
def test_the_curve_nearest_below_the_policy_counts(measured, policy, chosen):
    curve = expected_curve(evaluation(*measured), policy)
    assert curve.shots == chosen
    assert curve.tasks == 2
    assert [(point.steps, point.mean) for point in curve.points] == [(0, 0.5), (5, 0.8)]
    assert curve.points[0].quantiles == {"p05": 0.2, "p50": 0.5, "p95": 0.9}


def test_without_a_meta_curve_nothing_is_promised():
    assert expected_curve(evaluation(1, start="joint"), 1) is None
    assert expected_curve({}, 1) is None


def test_another_format_is_refused():
    with pytest.raises(BundleError, match="format 2"):
        expected_curve({**evaluation(1), "format": 2}, 1)
