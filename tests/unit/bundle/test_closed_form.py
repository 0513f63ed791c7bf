"""Bundles of closed-form heads: small graphs of plain operators that a device's own engine follows."""

from __future__ import annotations

import onnx
import pytest
import torch

from acclimate.bundle.limits import DeviceLimits
from acclimate.errors import BundleError
from acclimate.initialization import AdaptationPolicy, Initialization, InputSchema, ModelSpec, Normalization
from acclimate.learners import LearnerConfig, build_learner, loss_for, under
from acclimate.models import build, parameters_of
from acclimate_device import Device
from acclimate_device.protocol import FEATURES, LEARN, PARAMS
from acclimate_device.runtime.tensors import parse
from acclimate_device.testing import SimulatedFlash
from tests.support.bundle_samples import export

PLAIN = {"MatMul", "Transpose", "Add", "Sub", "Mul", "Div"}
FAMILIES = {
    "mlp": ModelSpec("mlp", (16,), 5, {"hidden": (8,)}),
    "levels": ModelSpec("levels", (16,), 5, {"hidden": (8, 8)}),
    "every block": ModelSpec("conv1d", (6, 40), 4, {"filters": 8, "blocks": 2, "readout": "blocks"}),
    "gru": ModelSpec("gru", (3, 8), 2, {"hidden": 6}),
    "spectral": ModelSpec("spectral", (1, 256), 3, {}),
}


def start(spec: ModelSpec, kind: str = "classification", heads: str = "auto") -> Initialization:
    """Heads somewhere in the middle of training."""
    torch.manual_seed(0)
    model = build(spec)
    loss = loss_for(kind, None if kind == "classification" else "mae")
    learner = build_learner(LearnerConfig("closed-form", heads=heads), model, loss)
    meta = learner.init(parameters_of(model))
    meta = {name: tensor + 0.05 * torch.randn_like(tensor) for name, tensor in meta.items()}
    levels = torch.tensor([0.5, 0.8, 0.9, 0.95, 0.99])
    noise = {
        "noise": torch.full((spec.outputs,), 0.2),
        "interval": torch.tensor([0.8, 1.6, 2.1, 2.5, 3.2]).expand(spec.outputs, 5).clone(),
        "levels": levels,
    }
    names = tuple(f"out{index}" for index in range(spec.outputs))
    classes = kind == "classification"
    return Initialization(
        params=under(meta, "param."),
        prior=under(meta, "prior.") | ({} if classes else noise) | {"last.forgetting": torch.tensor(0.995)},
        model=spec,
        schema=InputSchema(
            kind=kind,
            channels=tuple(f"in{index}" for index in range(spec.input_shape[0])),
            labels=names if classes else (),
            targets=() if classes else names,
        ),
        normalization=Normalization((0.0,) * spec.input_shape[0], (1.0,) * spec.input_shape[0]),
        adaptation=AdaptationPolicy(1, 0.05, 2, (), None if classes else "mae"),
        learner="closed-form",
    )


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[pytest.mark.nightly] * (name != "every block")) for name in FAMILIES],
)
def test_every_body_comes_with_heads_that_agree(family: str) -> None:
    bundle = export(start(FAMILIES[family]))
    assert bundle.agreement.chained < 1e-5
    inputs = {each.name: each for each in onnx.load_from_string(bundle.files[FEATURES]).graph.input}
    assert inputs["x"].type.tensor_type.shape.dim[0].dim_param, "any number of examples"
    learn = onnx.load_from_string(bundle.files[LEARN])
    assert {node.op_type for node in learn.graph.node} <= PLAIN
    assert len(bundle.files[LEARN]) < 4096
    given = {each.name for each in learn.graph.input}
    assert {"last.gamma", "pull.last.mean", "pull.last.cov"} <= given
    assert "means.gamma" not in given, "it forgets nothing"
    assert bundle.manifest.adaptation.forgetting == (0.995, 1.0)
    assert bundle.manifest.cost.macs_per_step >= bundle.manifest.cost.macs_per_prediction > 0
    assert not any("head" in name for name in parse(bundle.files[PARAMS]))
    device = Device(bundle.files.get, SimulatedFlash(), clock=lambda: 0.0)
    x = torch.randn(FAMILIES[family].input_shape).numpy()
    device.learn_one(x, "out1")
    assert set(device.predict_proba_one(x)) == {f"out{c}" for c in range(FAMILIES[family].outputs)}


def test_one_head_alone_is_a_bundle_too() -> None:
    bundle = export(start(FAMILIES["mlp"], heads="class-means"))
    assert bundle.manifest.adaptation.heads == ("means",)
    assert bundle.agreement.chained < 1e-5
    assert export(start(FAMILIES["mlp"], heads="class-means")).files == bundle.files, "the same bytes again"


def test_numbers_have_intervals_that_narrow_with_labels() -> None:
    spec = ModelSpec("mlp", (3,), 2, {"hidden": (8,)})
    bundle = export(start(spec, "regression"))
    device = Device(bundle.files.get, SimulatedFlash(), clock=lambda: 0.0)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 2, generator=generator)
    probe = torch.randn(3, generator=generator)
    widths, errors = [], []
    for labels in (0, 60):
        for _ in range(labels):
            x = torch.randn(3, generator=generator)
            device.learn_one(x.numpy(), (x @ weight).numpy())
        low, high = device.predict_interval_one(probe.numpy(), 0.9)
        inner_low, inner_high = device.predict_interval_one(probe.numpy(), 0.5)
        assert (low < inner_low).all()
        assert (inner_high < high).all()
        middle = device.predict_one(probe.numpy())
        assert ((low < middle) & (middle < high)).all()
        widths.append((high - low).mean())
        errors.append(abs(middle - (probe @ weight).numpy()).mean())
    assert widths[1] < widths[0]
    assert errors[1] < errors[0]


def test_what_cannot_be_shipped_is_refused_by_name() -> None:
    good = start(FAMILIES["mlp"])
    broken = {**good.prior, "last.scale": torch.tensor(float("nan"))}
    with pytest.raises(BundleError, match=r"prior 'last\.scale' holds NaN"):
        export(Initialization(**{**vars(good), "prior": broken}))
    with pytest.raises(BundleError, match="macs_per_step"):
        export(good, limits=DeviceLimits(macs_per_step=10))
