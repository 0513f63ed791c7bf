import numpy as np
import pytest

from acclimate.evaluation.statistics import interval, summarize


def test_the_interval_is_student_s_over_tasks() -> None:
    # by hand: mean 3, deviation sqrt(2.5), t(0.975, 4) = 2.776445
    low, high = interval(np.array([1.0, 2, 3, 4, 5]))
    half = 2.776445 * 2.5**0.5 / 5**0.5
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_one_task_has_no_interval() -> None:
    assert interval(np.array([0.7])) == (0.7, 0.7)


@pytest.mark.parametrize(("higher_is_better", "worst"), [(True, ("c", 0.1)), (False, ("b", 0.9))])
def test_the_worst_task_depends_on_the_metric(higher_is_better: bool, worst: tuple[str, float]) -> None:
    summary = summarize(np.array([0.5, 0.9, 0.1]), ("a", "b", "c"), higher_is_better)
    assert (summary.worst_task, summary.worst) == worst
    assert summary.quantiles["0.5"] == 0.5
    assert summary.values == [0.5, 0.9, 0.1]
