"""A device that learns what is normal on it: from a fleet's fit through an exported bundle to alarms."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.anomaly import Budget, fit
from acclimate.anomaly.windows import Windows
from acclimate.bundle.export import build_bundle
from acclimate.initialization import AdaptationPolicy, Initialization, InputSchema, ModelSpec, Normalization
from acclimate.models import build, parameters_of
from acclimate_device import Device
from acclimate_device.errors import InputError, LabelError
from acclimate_device.protocol import Release
from acclimate_device.runtime import NormalEngine
from acclimate_device.testing import SimulatedFlash

SHAPE, CHANNELS = (2, 8), ("load", "heat")
RANDOM = np.random.default_rng(0)
SHIFTS = 2.0 * RANDOM.normal(size=(8, 2, 1))


def window(device: int, odd: bool = False, seed: int = 0) -> np.ndarray:
    """Heat follows load on every device, around its own levels; an odd window breaks that."""
    random = np.random.default_rng([device, seed, odd])
    load = random.normal(size=8)
    heat = (-load if odd else load) + 0.1 * random.normal(size=8)
    return (np.stack([load, heat]) + SHIFTS[device] + [[0.0], [3.0 * odd]]).astype(np.float32)


@pytest.fixture(scope="module")
def bundle():
    import torch

    spec = ModelSpec("levels", SHAPE, 1)
    torch.manual_seed(0)
    model = build(spec)
    devices = []
    for device in range(6):
        x = torch.from_numpy(np.stack([window(device, seed=seed) for seed in range(300)]))
        with torch.no_grad():
            features = model.get_submodule("body")(x).double().numpy()
        devices.append(Windows(features, np.ones(300, bool), 150, 150))
    prior = fit(devices, 100, Budget(3.0, 3, 3600.0)).prior
    initialization = Initialization(
        params=parameters_of(model),
        prior={name: torch.from_numpy(array) for name, array in prior.tensors().items()},
        model=spec,
        schema=InputSchema(kind="anomaly", channels=CHANNELS, window=8, sample_rate_hz=1 / 450),
        normalization=Normalization(mean=(0.0, 0.0), scale=(1.0, 1.0)),
        adaptation=AdaptationPolicy(steps=1, inner_lr=0.1, shots=100),
        learner="closed-form",
    )
    return build_bundle(initialization, Release("pumps", 1, initialization.content_hash()))


def opened(bundle, flash=None, reports=None) -> Device:
    told = None if reports is None else reports.append
    return Device(bundle.files.get, flash or SimulatedFlash(), on_report=told)


def taught(bundle, flash=None, reports=None, number: int = 100) -> Device:
    device = opened(bundle, flash, reports)
    for seed in range(number):
        device.learn_one(window(7, seed=seed))
    return device


def test_a_new_device_learns_what_is_normal_on_it_and_tells_what_is_not(bundle):
    fresh, device = opened(bundle), taught(bundle)
    odd = [window(7, odd=True, seed=seed) for seed in range(40)]
    fine = [window(7, seed=1000 + seed) for seed in range(40)]
    assert sum(map(device.predict_one, odd)) >= 38
    assert sum(map(device.predict_one, fine)) <= 1
    assert sum(map(fresh.predict_one, odd)) < 38  # the fleet alone does not know its level
    assert device.adapted
    engine = device._life.active.running.engine
    assert isinstance(engine, NormalEngine)
    assert (device.score_one(odd[0]) > engine.prior.threshold) is device.predict_one(odd[0])


def test_what_was_learnt_survives_a_restart_and_reset_forgets_it(bundle):
    flash = SimulatedFlash()
    device = taught(bundle, flash)
    x = window(7, seed=5000)
    before, start = device.score_one(x), opened(bundle).score_one(x)
    device.close()
    again = opened(bundle, flash)
    assert again.score_one(x) == pytest.approx(before, rel=0.1, abs=0.1)
    again.reset()
    assert again.score_one(x) == pytest.approx(start, rel=1e-5)


def test_alarms_are_counted_once_for_each_quiet_time(bundle):
    reports: list = []
    device = taught(bundle, reports=reports)
    for odd in (0, 1, 1, 0, 1, 0, 0, 0, 0, 1):
        device.predict_one(window(7, odd=bool(odd), seed=7))
    device.close()
    (report,) = reports
    assert report.alarms == 2
    assert [event.kind for event in report.events].count("alarm") == 2
    assert (report.predictions, report.steps, report.drifts) == (10, 100, 0)


def test_labels_and_broken_windows_are_refused_and_change_nothing(bundle):
    device = taught(bundle, number=10)
    x = window(7)
    before = device.score_one(x)
    with pytest.raises(LabelError, match="anomalies have none"):
        device.learn_one(x, "normal")
    with pytest.raises(InputError):
        device.learn_one(np.full(SHAPE, np.nan, np.float32))
    assert device.score_one(x) == before
