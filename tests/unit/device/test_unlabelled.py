"""Class means that learn from windows without labels: by hand, guarded, off by default, gone with a reset."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from acclimate_device import Device, OnlinePolicy
from acclimate_device.runtime import ClosedFormEngine, unlabelled
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle

WINDOWS = "state.windows.number"


def device(flash: SimulatedFlash | None = None, unlabelled: bool = True) -> Device:
    policy = OnlinePolicy(unlabelled=unlabelled)
    return Device(tiny_bundle("closed-form").get, flash or SimulatedFlash(), policy, clock=lambda: 1e6)


def seen(of: Device) -> float:
    return float(of._life.active.params[WINDOWS].sum())


def test_windows_count_as_observations_of_the_posterior() -> None:
    """Against precisions in float64, with windows worth n / (1 + 2 n) labels of their class."""
    rng = np.random.default_rng(0)
    mean, root = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=(4, 4))
    cov = (root @ root.T + np.eye(4)).astype(np.float32)
    number, total = np.zeros(4, np.float32), np.zeros((4, 6), np.float32)
    for chances, z in zip(rng.dirichlet(np.ones(4), 30), rng.normal(size=(30, 6)), strict=True):
        number, total = unlabelled.counted(number, total, chances.astype(np.float32), z.astype(np.float32))
    moved, after = unlabelled.informed(mean, cov, number, total)
    worth = (number / (1 + 2 * number)).astype(np.float64)
    assert worth.max() < 0.5
    precision = np.linalg.inv(cov.astype(np.float64))
    expected = np.linalg.inv(precision + np.diag(worth))
    averages = total.astype(np.float64) / number[:, None]
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
    wanted = expected @ (precision @ mean + worth[:, None] * averages)
    np.testing.assert_allclose(moved, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("number", "tells"), [([40, 0.1, 0.1], False), ([40, 30, 1], True), ([0, 0, 0], False)]
)
def test_windows_of_one_class_tell_nothing(number: list[float], tells: bool) -> None:
    counts = np.array(number, np.float32)
    mean, cov = np.ones((3, 2), np.float32), np.eye(3, dtype=np.float32)
    assert unlabelled.tells(counts) == tells
    moved, after = unlabelled.informed(mean, cov, counts, np.zeros((3, 2), np.float32))
    assert (moved is mean and after is cov) != tells


def test_a_device_learns_from_what_it_predicts_where_it_may() -> None:
    learner, plain, stream = device(), device(unlabelled=False), GestureDevice(4)
    for x, _ in stream.examples(60):
        learner.predict_one(x)
        plain.predict_one(x)
    assert seen(learner) == pytest.approx(60, rel=1e-4)
    assert seen(plain) == 0
    assert plain._life.active.params is plain._life.active.running.engine.start
    probe = list(stream.examples(100))
    of = {one: [one.predict_proba_one(x)[y] for x, y in probe] for one in (learner, plain)}
    assert of[learner] != of[plain]
    assert np.mean(np.array(of[learner]) > 0.5) >= np.mean(np.array(of[plain]) > 0.5)
    for x, y in stream.examples(40):
        learner.learn_one(x, y)
    assert np.mean([learner.predict_one(x) == y for x, y in stream.examples(60)]) > 0.9


def test_what_windows_told_is_kept_and_goes_with_a_reset() -> None:
    flash, stream = SimulatedFlash(), GestureDevice(4)
    learner = device(flash)
    learner.predict_many([x for x, _ in stream.examples(20)])
    before = seen(learner)
    assert before == pytest.approx(20, rel=1e-4)
    learner.close()
    again = device(flash)
    assert seen(again) == before
    engine = again._life.active.running.engine
    assert isinstance(engine, ClosedFormEngine)
    assert engine.reopened(again._life.active.params)[WINDOWS] is engine.start[WINDOWS]
    again.reset()
    assert seen(again) == 0


def test_a_prediction_does_not_wait_to_learn() -> None:
    learner, stream = device(), GestureDevice(4)
    x = stream.example()[0]
    done = threading.Event()

    def predict() -> None:
        learner.predict_one(x)
        done.set()

    with learner._life.lock:
        threading.Thread(target=predict).start()
        assert done.wait(10), "a prediction waited for the lock"
    assert seen(learner) == 0
