import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.rollout.console.scales import bounds, number, ticks, time_ticks


def test_ticks_are_round():
    assert ticks(0.0, 1.0, 4) == [0.0, 0.5, 1.0]
    assert ticks(-0.13, 0.29, 4) == [0.0, 0.2]
    assert ticks(0, 230, 4) == [0, 100, 200]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 10))
def test_ticks_lie_within_and_are_few(low, span, count):
    found = ticks(low, low + span, count)
    assert len(found) <= count + 1
    slack = span * 1e-6 + abs(low) * 1e-15  # no tick can lie nearer than floats lie to one another
    assert all(low - slack <= value <= low + span + slack for value in found)


def test_time_ticks_fall_on_round_instants():
    labels = [label for _, label in time_ticks(1_700_000_000, 1_700_003_600, 4)]
    assert labels == ["22:15", "22:30", "22:45", "23:00"]


def test_bounds_are_never_empty():
    assert bounds([]) == pytest.approx((-0.08, 1.08))
    low, high = bounds([3.0])
    assert low < 3.0 < high


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12345.0, "12,345"),
        (0.123456, "0.1235"),
        (1234.56, "1,234.6"),
        (float("inf"), "∞"),
        (-2.0, "-2"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text
