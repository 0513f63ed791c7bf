"""Gradient steps in C beside onnxruntime's, whole and in parts, and what is refused."""

from __future__ import annotations

import ctypes as ct

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from acclimate.bundle.export import write_bundle
from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.mcu.firmware import bundle_in
from acclimate.bundle.mcu.source import source_of
from acclimate.errors import BundleError
from acclimate_device.mcu.weights import numbers
from acclimate_device.protocol import ADAPT
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

TIES = {("conv1d, group norm", 2): 1, ("conv1d, group norm", 1): 1}
"""How often at most a chain meets a tie of a pool, by the parts of a batch: see `follow`."""


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


class Steps:
    """Gradient steps in C, over parts of a batch."""

    def __init__(self, bundle, library, macros) -> None:
        self.bundle, self.code, self.m = bundle, ct.CDLL(str(library)), macros
        self.laid = np.concatenate(list(numbers(bundle).values())).astype(np.float32)
        self.arena = np.zeros(macros["ARENA"], np.float32)
        self.start = self.laid[macros["AT_MOVING"] : macros["AT_MOVING"] + macros["MOVING"]].copy()

    def step(self, before, batch: Batch, step: int):
        """The parameters after a step."""
        m, laid, ours = self.m, self.laid, before.copy()
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
            given = [at(array) for array in (laid, ours, x, y, w, rates, to)]
            self.code.acc_step(*given, scale, at(self.arena))
        return ours if whole else ours + to

    def outputs(self, params, x):
        self.code.acc_outputs(at(self.laid), at(params), at(np.ascontiguousarray(x)), at(self.arena))
        return self.arena[self.m["OUT"] : self.m["OUT"] + self.bundle.manifest.output.width]


def at(array):
    return array.ctypes.data_as(ct.c_void_p)


class Theirs:
    """Gradient steps in onnxruntime, and what they choose: sides of zero, and the largest of a pool."""

    def __init__(self, bundle) -> None:
        self.engine, self.graph = GradientEngine(bundle), onnx.load_from_string(bundle.files[ADAPT])
        self.moving = self.engine.adaptation.trainable
        shapes = onnx.shape_inference.infer_shapes(self.graph).graph.value_info
        kinds = {one.name: one.type.tensor_type.elem_type for one in shapes}
        discrete = {TensorProto.BOOL, TensorProto.INT64}
        del self.graph.graph.output[:]
        for node in self.graph.graph.node:
            for name in node.output:
                if kinds.get(name) in discrete:
                    self.graph.graph.output.append(helper.make_empty_tensor_value_info(name))
        self.session = onnxruntime.InferenceSession(self.graph.SerializeToString())

    def params(self, flat):
        found, first = dict(self.engine.start), 0
        for name in self.moving:
            like = found[f"param.{name}"]
            found[f"param.{name}"] = flat[first : first + like.size].reshape(like.shape).copy()
            first += like.size
        return found

    def step(self, before, batch: Batch, step: int):
        """The parameters after a step."""
        after, _ = self.engine.step(self.params(before), batch, step)
        return np.concatenate([after[f"param.{name}"].ravel() for name in self.moving])

    def choices(self, flat, batch: Batch) -> bytes:
        given = {**self.params(flat), "x": batch.x, "y": batch.y, "w": batch.w}
        for each in self.session.get_inputs():  # the rates choose nothing
            given.setdefault(each.name, np.zeros(each.shape, np.float32))
        feed = {each.name: given[each.name] for each in self.session.get_inputs()}
        return b"".join(made.tobytes() for made in self.session.run(None, feed))


def follow(bundle, library, macros, batches, near: float) -> tuple[float, float, int]:
    """How far parameters and outputs are from onnxruntime's after each of chained steps, at most.

    One step is as near from whichever parameters both begin: from C's own chain, and from onnxruntime's. The
    chains stay near each other but where they chose otherwise: the largest of a pool and the next are nearer
    than rounding tells apart, and the gradient goes to one or the other. There onnxruntime, begun at C's
    parameters, goes where C goes. Both chains then go on from onnxruntime's; how often is told, too.
    """
    theirs, c, worst, ties = Theirs(bundle), Steps(bundle, library, macros), (0.0, 0.0), 0
    expected = ours = c.start
    for step, batch in enumerate(batches):
        before, began = expected, ours
        expected, ours = theirs.step(before, batch, step), c.step(began, batch, step)
        assert apart(c.step(before, batch, step), expected) < near
        assert apart(ours, theirs.step(began, batch, step)) < near
        if theirs.choices(began, batch) != theirs.choices(before, batch):
            ours, ties = expected, ties + 1
        outputs = theirs.engine.outputs(theirs.params(expected), batch.x[:1])[0]
        off = apart(ours, expected), apart(c.outputs(ours, batch.x[0]), outputs)
        worst = max(worst[0], off[0]), max(worst[1], off[1])
    return *worst, ties


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
    *worst, ties = follow(bundle, steps[1], source_of(bundle).macros, batches, 1e-6)
    print("parameters, outputs", worst)
    assert max(worst) < 1e-6
    assert ties == 0


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
    batches = [random_batch(engine, rng) for _ in range(100)]
    *worst, ties = follow(bundle, library, macros, batches, STEPPED[name])
    print(name, part, worst, ties)
    assert max(worst) < STEPPED[name]
    assert ties <= TIES.get((name, part), 0)


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
