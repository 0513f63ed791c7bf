"""Gradient steps in C beside onnxruntime's, whole and in parts, and what is refused."""

from __future__ import annotations

import ctypes as ct

import numpy as np
import pytest

from acclimate.bundle.export import write_bundle
from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.mcu.firmware import bundle_in
from acclimate.bundle.mcu.source import source_of
from acclimate.errors import BundleError
from acclimate_device.mcu.weights import numbers
from acclimate_device.runtime import Batch, GradientEngine
from tests.support.bundle_samples import FAMILIES, export, start
from tests.support.mcu_host import STEPS, HostDevice, build, generate
from tests.unit.mcu.test_decisions import apart, sdk, stream

STEPPED = {
    "mlp": 1e-6,
    "mlp, tanh, regression": 1e-6,
    "mlp, silu, Huber loss": 1e-6,
    "mlp, Meta-SGD": 1e-6,
    "conv1d, group norm": 1e-6,
    "conv1d, no norm, flattened": 1e-6,
    "conv1d, head only": 1e-6,
    "conv1d, biases only": 1e-6,
    "conv1d, batch statistics, per-step rates": 1e-6,
    "gru, forecasting": 1e-6,
    "spectral, levels, any length": 2e-6,
}
"""How near a hundred chained steps stay, beside the largest number."""


def random_batch(engine: GradientEngine, rng: np.random.Generator) -> Batch:
    """A batch, the last two of which may be padding."""
    manifest, size = engine.manifest, engine.adaptation.batch
    x = rng.normal(size=(size, *manifest.input.shape)).astype(np.float32)
    if manifest.output.kind == "classification":
        y = rng.integers(manifest.output.width, size=size)
    else:
        y = rng.normal(size=(size, manifest.output.width)).astype(np.float32)
    w = np.ones(size, np.float32)
    w[size - rng.integers(3) :] = 0.0
    return Batch(x, y, w) if w.any() else random_batch(engine, rng)


def follow(bundle, library, macros, batches) -> tuple[float, float]:
    """How far parameters and outputs are from onnxruntime's after each of chained steps, at most."""
    engine, code, m = GradientEngine(bundle), ct.CDLL(str(library)), macros
    laid = np.concatenate(list(numbers(bundle).values())).astype(np.float32)
    ours = laid[m["AT_MOVING"] : m["AT_MOVING"] + m["MOVING"]].copy()
    arena, params, worst = np.zeros(m["ARENA"], np.float32), dict(engine.start), (0.0, 0.0)

    def at(array):
        return array.ctypes.data_as(ct.c_void_p)

    for step, batch in enumerate(batches):
        params, _ = engine.step(params, batch, step)
        rates = laid[m["AT_RATES"] + min(step, m["RATE_STEPS"] - 1) * m["RATES"] :].copy()
        used, whole = int(batch.w.sum()), m["PART"] == m["BATCH"]
        to = ours if whole else np.zeros_like(ours)
        for first in range(0, m["BATCH"] if whole else used, m["PART"]):
            some = min(m["PART"], used - first)
            places = [*range(first, first + some), *[first] * (m["PART"] - some)]
            if whole:  # statistics over the batch see its padding, too
                places = list(range(m["BATCH"]))
            x = np.ascontiguousarray(batch.x[places])
            y = np.ascontiguousarray(batch.y[places], np.float32)
            w = np.asarray([1.0] * some + [0.0] * (m["PART"] - some), np.float32)
            scale = ct.c_float(1.0 if whole else some / used)
            code.acc_step(at(laid), at(ours), at(x), at(y), at(w), at(rates), at(to), scale, at(arena))
        ours = ours if whole else ours + to
        expected = np.concatenate([params[f"param.{n}"].ravel() for n in engine.adaptation.trainable])
        code.acc_outputs(at(laid), at(ours), at(np.ascontiguousarray(batch.x[0])), at(arena))
        outputs = arena[m["OUT"] : m["OUT"] + bundle.manifest.output.width]
        off = apart(ours, expected), apart(outputs, engine.outputs(params, batch.x[:1])[0])
        worst = max(worst[0], off[0]), max(worst[1], off[1])
    return worst


def in_parts(bundle_folder, folder, part):
    """The firmware that takes `part` examples at a time, and its macros."""
    generate(bundle_folder, folder)
    made = source_of(bundle_in(bundle_folder), part)
    (folder / "model.h").write_text(made.header)
    (folder / "model.c").write_text(made.code)
    return build(folder), made.macros


def test_a_hundred_steps_of_the_sample_follow_onnxruntime(steps) -> None:
    bundle = bundle_in(STEPS)
    windows, classes = stream(0, 300)
    batches = []
    for first in range(100):
        x = windows[first : first + 12] / np.float32(0.7)
        batches.append(Batch(x, classes[first : first + 12], np.ones(12, np.float32)))
    worst = follow(bundle, steps[1], source_of(bundle).macros, batches)
    print("parameters, outputs", worst)
    assert max(worst) < 1e-6


BY_DAY = {("conv1d, batch statistics, per-step rates", None), ("gru, forecasting", 2)}
WHOLE = {"conv1d, batch statistics, per-step rates"}
"""Whose step is no mean of its parts."""


@pytest.mark.parametrize(
    ("name", "part"),
    [
        pytest.param(name, part, marks=[] if (name, part) in BY_DAY else [pytest.mark.nightly])
        for name in STEPPED
        for part in (None, 2, 1)
        if part is None or name not in WHOLE
    ],
)
def test_a_hundred_steps_follow_onnxruntime(name: str, part: int | None, tmp_path) -> None:
    arguments, options, _ = FAMILIES[name]
    write_bundle(export(start(*arguments, **{**options, "shots": 3})).files, tmp_path / "bundle")
    bundle, rng = bundle_in(tmp_path / "bundle"), np.random.default_rng(0)
    library, macros = in_parts(tmp_path / "bundle", tmp_path / "firmware", part)
    engine = GradientEngine(bundle)
    worst = follow(bundle, library, macros, [random_batch(engine, rng) for _ in range(100)])
    print(name, part, worst)
    assert max(worst) < STEPPED[name]


def test_parts_are_taken_where_the_whole_batch_does_not_fit(steps, tmp_path) -> None:
    whole, alone = steps[0].footprint, source_of(bundle_in(STEPS), 1).footprint
    assert alone.ram_bytes < whole.ram_bytes
    limits = DeviceLimits(ram_bytes=alone.ram_bytes + alone.stack_bytes)
    made = generate(STEPS, tmp_path / "firmware", limits=limits)
    assert b"#define ACC_PART 1\n" in made.files["model.h"]
    windows, classes = stream(0, 300)
    device = HostDevice(build(tmp_path / "firmware"), made.files["weights.blob"])
    assert device.stream(windows, classes)[0].tolist() == sdk(windows, classes, "gradient")[0]
    with pytest.raises(
        BundleError, match=r"ram_bytes [\d,]+ \(at most 9,000\).*adapt fewer parameters or shots"
    ):
        generate(STEPS, tmp_path / "none", limits=DeviceLimits(ram_bytes=9000))
    with pytest.raises(BundleError, match=r"instructions_per_step [\d,]+ \(at most 1,000\)"):
        generate(STEPS, tmp_path / "none", limits=DeviceLimits(instructions_per_step=1000))


@pytest.mark.nightly
def test_a_step_that_is_no_mean_of_its_parts_is_not_taken_in_parts(tmp_path) -> None:
    arguments = ("conv1d", (2, 8), 2)
    options = {"norm": "batch", "blocks": 1, "filters": 4}
    write_bundle(export(start(*arguments, options=options)).files, tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"cannot be taken 2 examples at a time \(parts differ"):
        source_of(bundle_in(tmp_path / "bundle"), 2)
    with pytest.raises(BundleError, match=r"ram_bytes [\d,]+ \(at most 5,000\)"):
        generate(tmp_path / "bundle", tmp_path / "none", limits=DeviceLimits(ram_bytes=5000))
