"""The C runtime beside the SDK: the same heads, predictions and alarms on the same streams."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.bundle.export import write_bundle
from acclimate.bundle.mcu.firmware import bundle_in
from acclimate_device import Device
from acclimate_device.drift import InputShift, PageHinkley
from acclimate_device.online.schema import Schema
from acclimate_device.protocol import Report, loads
from acclimate_device.runtime import ClosedFormEngine
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from acclimate_device.testing.gestures import LABELS
from tests.support.bundle_samples import export
from tests.support.mcu_host import COUNTS, GESTURES, HostDevice, build, generate
from tests.unit.bundle.test_closed_form import FAMILIES, start


class WithoutClock(InputShift):
    """The detector of a device that knows no time, as microcontrollers do not."""

    def update(self, x, at=None):
        super().update(x)


def stream(seed: int, labels: int = 400):
    """A device's life with three drifts: its sensor is turned, ages to a third, and loses a channel."""
    device = GestureDevice(seed)
    windows, classes = [], []
    for number, (window, label) in enumerate(device.examples(labels)):
        if number == labels // 4:
            device.mount_anew()
        x = np.asarray(window, np.float32)
        if number >= labels // 2:
            x = x * np.float32(0.35)
        if number >= 3 * labels // 4:
            x[seed % 3] = 0.0
        windows.append(x)
        classes.append(LABELS.index(label))
    return np.stack(windows), np.array(classes)


def confused(classes, seed: int):
    """Labels that are wrong for two hundred examples: what a device learns then does harm."""
    wrong = np.random.default_rng(seed).integers(0, 3, len(classes))
    return np.where((np.arange(len(classes)) % 300) > 200, wrong, classes)


def sdk(windows, classes, kind="closed-form", **options):
    """Predictions, and the report of the whole stream, of the Python SDK."""
    reports: list[Report] = []
    device = Device(
        tiny_bundle(kind).get, SimulatedFlash(), clock=lambda: 1e6, input_shift=WithoutClock(),
        on_report=reports.append, **options,
    )  # fmt: skip
    predictions = []
    for x, y in zip(windows, classes, strict=True):
        predictions.append(LABELS.index(device.predict_one(x)))
        device.learn_one(x, LABELS[y])
    device.close()
    return predictions, reports[-1]


DECIDED = COUNTS[:8]  # of the SDK's decisions; the rest counts trouble
KINDS = {"closed-form": "gestures", "gradient": "steps"}


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize(
    ("seed", "kind"),
    [
        pytest.param(seed, kind, marks=[pytest.mark.nightly] * (seed % 2 != number))
        for seed in range(10)
        for number, kind in enumerate(KINDS)
    ],
)
def test_every_decision_is_the_sdks(seed: int, kind: str, wrong: bool, request) -> None:
    made, library = request.getfixturevalue(KINDS[kind])
    windows, classes = stream(seed)
    if wrong:
        classes = confused(classes, seed)
    expected, report = sdk(windows, classes, kind)
    device = HostDevice(library, made.files["weights.blob"])
    predictions, _ = device.stream(windows, classes)
    assert predictions.tolist() == expected
    assert report.drifts + report.warnings + report.resets >= 1
    told = device.counts
    assert {name: told[name] for name in DECIDED} == {name: getattr(report, name) for name in DECIDED}
    ours = loads(Report, device.report(), 65536)
    for name in ("start_loss", "adapted_loss"):  # two digits of a sum are told
        assert getattr(ours, name).count == getattr(report, name).count
        assert getattr(ours, name).sum == pytest.approx(getattr(report, name).sum, rel=0.06)


def test_page_hinkley_decides_as_the_sdks(gestures) -> None:
    made, library = gestures
    windows, classes = stream(3, 800)
    wrong = np.where(np.arange(800) % 400 > 200, (classes + 1) % 3, classes)
    expected, report = sdk(windows, wrong, detector=PageHinkley())
    device = HostDevice(library, made.files["weights.blob"], detector=1)
    predictions, _ = device.stream(windows, wrong)
    assert predictions.tolist() == expected
    assert device.counts["drifts"] == report.drifts


BUNDLES = {name: (spec, "classification") for name, spec in FAMILIES.items()} | {
    "numbers": (FAMILIES["levels"], "regression")
}


NEAR = {"every block": 3e-6, "spectral": 4e-6}
"""Of bodies where float32 leaves that much open: a chain in float64 is as far from onnxruntime as from C."""


@pytest.mark.nightly
@pytest.mark.parametrize("name", BUNDLES)
def test_a_hundred_labels_follow_onnxruntime(name: str, tmp_path) -> None:
    """Means and covariances of every body, 1e-6 of the largest number of each."""
    spec, kind = BUNDLES[name]
    write_bundle(export(start(spec, kind)).files, tmp_path / "bundle")
    follow(tmp_path / "bundle", HostDevice(*compiled(tmp_path)), NEAR.get(name, 1e-6))


def test_a_hundred_labels_of_the_sample_follow_onnxruntime(gestures) -> None:
    made, library = gestures
    follow(GESTURES, HostDevice(library, made.files["weights.blob"]))


def compiled(folder):
    made = generate(folder / "bundle", folder / "firmware")
    return build(folder / "firmware"), made.files["weights.blob"]


def follow(bundle_folder, device: HostDevice, near: float = 1e-6) -> None:
    bundle = bundle_in(bundle_folder)
    engine, schema, rng = ClosedFormEngine(bundle), Schema(bundle.manifest), np.random.default_rng(0)
    params, width = engine.start, bundle.manifest.output.width
    for _ in range(100):
        x = rng.normal(size=schema.shape).astype(np.float32)
        y = int(rng.integers(width)) if schema.classification else rng.normal(size=width).astype(np.float32)
        normalized = schema.normalize(x)[None]
        expected = engine.outputs(params, normalized)[0]
        assert device.predict(x) >= 0
        assert apart(device.outputs(width), expected) < 2 * near
        assert device.learn(x, y) == 0
        params, _ = engine.learn(params, normalized, schema.normalize_targets([y]))
        at = 0
        for part in parts(engine, params):
            assert apart(device.state[at : at + part.size], part) < near
            at += part.size
        trust = params["state.trust"]  # adds up log losses over noise
        assert apart(device.state[at : at + trust.size], trust) < 10 * near


def parts(engine, params):
    """What is learnt, as the C struct has it."""
    for head in engine.heads:
        yield params[f"state.{head}.mean"].reshape(-1)
        cov = params[f"state.{head}.cov"]
        yield cov[np.tril_indices(len(cov))]


def apart(ours, theirs) -> float:
    return float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))


def test_inputs_are_refused_as_by_the_sdk(gestures) -> None:
    made, library = gestures
    device = HostDevice(library, made.files["weights.blob"])
    x = stream(0, 8)[0][0]
    before = device.state
    for wrong in (np.full_like(x, np.nan), np.full_like(x, 1e16), np.ones_like(x)):
        assert device.predict(wrong) == -1
        assert device.learn(wrong, 0) == -1
    assert device.learn(x, 3) == -3
    assert device.learn(x, -1) == -3
    assert (device.state == before).all()
    assert (device.counts["bad_inputs"], device.counts["bad_labels"]) == (6, 2)
