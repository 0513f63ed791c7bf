"""Generated vibration: the physics it claims, and the traps it must not set."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.tasks import EpisodePlan, TaskPool, open_dataset
from acclimate.tasks.datasets.vibration import RATE_HZ, STATES, Machine


def machine(turns: float = 20.0) -> Machine:
    """A bearing of eight balls with ratio 0.25 by hand: 60 outer, 100 inner, 75 ball strikes a second."""
    return Machine(
        turns=turns,
        outer=60.0,
        inner=100.0,
        ball=75.0,
        cage=7.5,
        modes=np.array([3000.0]),
        damping=np.array([0.03]),
        weight=np.array([1.0]),
        orders=np.full(4, 0.1),
    )


def lines(signal: np.ndarray) -> dict[float, float]:
    """Amplitude by frequency of the envelope around the mode, by the Hilbert transform."""
    spectrum = np.fft.fft(signal)
    frequency = np.fft.fftfreq(len(signal), 1 / RATE_HZ)
    band = (frequency > 2000) & (frequency < 4000)
    envelope = np.abs(np.fft.ifft(np.where(band, 2 * spectrum, 0)))
    amplitude = np.abs(np.fft.rfft(envelope - envelope.mean())) / len(signal)
    return dict(zip(np.fft.rfftfreq(len(signal), 1 / RATE_HZ), amplitude, strict=True))


def strongest(found: dict[float, float], low: float, high: float) -> float:
    return max((value, at) for at, value in found.items() if low < at < high)[1]


@pytest.mark.parametrize(("state", "rate"), [("outer", 60.0), ("inner", 100.0)])
def test_a_damaged_race_strikes_at_the_frequency_of_its_geometry(state, rate):
    signal = machine().recording(state, 128_000, np.random.default_rng(1))
    assert strongest(lines(signal), 40, 130) == pytest.approx(rate, abs=1.5)


def test_an_inner_race_is_heard_once_a_turn():
    found = lines(machine().recording("inner", 128_000, np.random.default_rng(1)))
    assert strongest(found, 10, 40) == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize(("state", "order"), [("imbalance", 1), ("misalignment", 2)])
def test_the_shaft_is_heard_at_its_orders(state, order):
    signal = machine().recording(state, 128_000, np.random.default_rng(2))
    spectrum = np.abs(np.fft.rfft(signal))
    assert np.fft.rfftfreq(len(signal), 1 / RATE_HZ)[spectrum.argmax()] == pytest.approx(20 * order, abs=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_drawn_bearings_obey_their_kinematics(seed):
    drawn = Machine.drawn(np.random.default_rng(seed))
    balls = (drawn.outer + drawn.inner) / drawn.turns
    assert balls == pytest.approx(round(balls))
    assert 7 <= round(balls) <= 12
    assert drawn.cage == pytest.approx(drawn.outer / balls)
    assert drawn.outer < drawn.inner


def test_a_pool_is_the_same_again_and_support_and_query_come_of_different_recordings(tmp_path):
    options = {"machines": 2, "seconds": 1.0, "states": ["normal", "outer"]}
    pool, again = (open_dataset("vibration", pool_dir=tmp_path / name, **options) for name in "ab")
    assert isinstance(pool, TaskPool)
    assert pool.info.content_hash == again.info.content_hash
    assert (pool.input_shape, pool.schema.labels) == ((1, 2048), ("normal", "outer"))
    sampler = pool.sampler(np.arange(2), EpisodePlan(shots=5, query_shots=5))
    cut = sampler.halves.support
    starts = pool.starts.reshape(2, 2, -1)
    for task, label in np.ndindex(2, 2):
        first = starts[task, label, : cut[task, label]]
        assert first.max() + 2048 <= starts[task, label, 0] + RATE_HZ
        assert starts[task, label, sampler.halves.query[task, label]] >= starts[task, label, 0] + RATE_HZ


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": ["broken"]}, f"'broken' is unknown; there are {', '.join(STATES)}"),
        ({"seconds": 0.1}, "use at least one machine and two windows, 0.32 seconds"),
        ({"machines": 0}, "machines is 0"),
    ],
)
def test_options_that_do_not_fit_are_said(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        open_dataset("vibration", pool_dir=tmp_path, **options)
