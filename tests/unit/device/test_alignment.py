"""The map back to inputs as they were, by hand; and the wall's clock."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from acclimate_device.errors import AlignmentError
from acclimate_device.online.adaptation import adapt
from acclimate_device.online.alignment import Moments, Realigner, alignment
from acclimate_device.online.forecaster import local_time


def moments(inputs: int, mean: float, spread: float) -> Moments:
    return Moments(inputs, (mean,), (spread,))


def test_a_map_is_shrunk_as_if_four_inputs_had_shown_no_shift() -> None:
    made = alignment(moments(500, 2.0, 3.0), moments(12, 10.0, 6.0), ["x"])
    gain = 0.5**0.75
    assert made.gain == pytest.approx((gain,))
    assert made.offset == pytest.approx((0.75 * 2.0 + 0.25 * 10.0 - gain * 10.0,))


@pytest.mark.parametrize("times", [2000.0, 1.0 / 2000.0])
def test_a_channel_that_varies_more_than_units_explain_is_broken(times: float) -> None:
    after = moments(1 << 40, 0.0, 1.0)
    assert alignment(moments(500, 0.0, times), after, ["x"]).gain == pytest.approx((times,))
    beyond = times * 1.001 if times > 1.0 else times / 1.001
    with pytest.raises(AlignmentError, match=r"channel 'x' varied by .* over the 1099511627776 inputs"):
        alignment(moments(500, 0.0, beyond), after, ["x"])


@pytest.mark.parametrize(("old", "new"), [(1.0, 0.0), (0.0, 1.0), (1.0, 9e-6)])
def test_a_channel_that_begins_or_ends_to_stand_still_allows_no_map(old: float, new: float) -> None:
    with pytest.raises(AlignmentError, match="check the sensor"):
        alignment(moments(500, 10.0, old), moments(100, 10.0, new), ["x"])


def test_a_channel_that_stands_still_in_both_is_moved_alone() -> None:
    made = alignment(moments(500, 1e6, 0.5), moments(12, 2e6, 1.5), ["x"])
    assert made.gain == (1.0,)
    assert made.offset == pytest.approx((0.75 * (1e6 - 2e6),))


def test_moments_are_of_all_samples_of_the_inputs_and_maps_come_at_each_doubling() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(3.0, 2.0, (64, 2, 5)), rng.normal(-1.0, 4.0, (64, 2, 5))
    realigner = Realigner(["x", "y"], 64)
    for one in before:
        assert realigner.due() is None
        realigner.update(one)
    assert realigner.before is not None
    assert realigner.before.inputs == 64
    assert realigner.before.mean == pytest.approx(before.mean(axis=(0, 2)))
    assert realigner.before.spread == pytest.approx(before.std(axis=(0, 2)))
    realigner.shifted()
    due = []
    for at, one in enumerate(after, 1):
        realigner.update(one)
        if (made := realigner.due()) is not None:
            due.append(at)
            seen = after[:at]
            now = Moments(at, tuple(seen.mean(axis=(0, 2))), tuple(seen.std(axis=(0, 2))))
            wanted = alignment(realigner.before, now, ["x", "y"])
            assert made.gain == pytest.approx(wanted.gain)
            assert made.offset == pytest.approx(wanted.offset)
    assert due == [16, 32, 64]
    assert realigner.before.inputs == 64


@pytest.mark.parametrize(
    ("zone", "ahead_s"), [("<+0545>-5:45", 20_700), ("<-0930>9:30", -34_200), ("UTC", 0)]
)
def test_local_time_is_what_the_clock_on_the_wall_shows(monkeypatch, zone: str, ahead_s: int) -> None:
    with monkeypatch.context() as there:
        there.setenv("TZ", zone)
        time.tzset()
        ahead = local_time() - time.time()
    time.tzset()
    assert ahead == pytest.approx(ahead_s, abs=60.0)


def test_a_bundle_without_steps_keeps_its_start() -> None:
    engine = SimpleNamespace(adaptation=SimpleNamespace(steps=0), start={"head": np.ones(2)})
    made = adapt(engine, None, [], [], None, 8)
    assert made.params is engine.start
    assert (made.steps, made.adapted, made.judged) == (0, False, False)
