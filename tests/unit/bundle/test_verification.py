"""Wrong graphs are refused, and the wrong parameter named; ties that float32 leaves open are not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from acclimate.bundle.export import batch_size
from acclimate.bundle.graphs import predict_to_onnx, step_to_onnx, trace_step
from acclimate.bundle.probe import Reference, Sanity, probe_batch, sanity_of, steady_steps
from acclimate.bundle.step import StepSignature, step_function, step_inputs
from acclimate.bundle.verification import (
    _step_excess,
    verify_prediction,
    verify_sanity,
    verify_step,
)
from acclimate.errors import BundleError
from acclimate.learners import loss_for
from acclimate.models import build
from tests.support.bundle_samples import start


@pytest.fixture(scope="module")
def case():
    """A small start with all that verification needs."""
    initialization = start("mlp", (6,), 3, options={"hidden": (8,)})
    model = build(initialization.model)
    loss = loss_for("classification")
    signature = StepSignature.of(initialization)
    batch = probe_batch(initialization, batch_size(initialization))
    reference = Reference.of(initialization, model, loss, signature, batch)
    return initialization, model, reference, step_function(model, loss, signature), signature, batch


def exported(step, initialization, signature, batch):
    tensors = step_inputs(initialization, signature, initialization.params, batch)
    return step_to_onnx(trace_step(step, tensors), tensors, signature.inputs, signature.outputs)


@pytest.mark.slow
def test_a_step_that_is_slightly_too_long_is_refused(case):
    initialization, _, reference, step, signature, batch = case

    def too_long(*tensors):
        *moved, loss = step(*tensors)
        before = dict(zip(signature.parameters, tensors, strict=False))
        return (
            *(
                after + 1e-3 * (after - before[name])
                for name, after in zip(signature.trainable, moved, strict=True)
            ),
            loss,
        )

    onnx = exported(too_long, initialization, signature, batch)
    with pytest.raises(BundleError, match=r"apart in '(body|head)\.[a-z0-9.]+' after step \d+ of 20"):
        verify_step(initialization, reference, step, onnx, signature, batch)


def test_another_prediction_is_refused(case):
    initialization, model, _, _, _, batch = case

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = model.body, model.head

        def forward(self, x):
            return 1.001 * self.head(self.body(x))

    onnx = predict_to_onnx(Scaled(), dict(initialization.params), batch[0])
    with pytest.raises(BundleError, match="the exported prediction and torch differ by"):
        verify_prediction(initialization, model, onnx, batch[0])
    with pytest.raises(BundleError, match="does not load"):
        verify_prediction(initialization, model, onnx[:-20], batch[0])


@pytest.mark.slow
def test_the_sanity_vector_must_be_met_with_room_to_spare(case):
    initialization, model, reference, step, signature, batch = case
    predict = predict_to_onnx(model, dict(initialization.params), batch[0])
    adapt = exported(step, initialization, signature, batch)
    sanity = sanity_of(reference, signature, batch)
    assert verify_sanity(initialization, predict, adapt, signature, sanity, 1e-4) <= 1e-5
    shifted = Sanity(sanity.batch, sanity.outputs, sanity.losses + 2e-5)
    with pytest.raises(BundleError, match="reproduces the sanity vector only to 2"):
        verify_sanity(initialization, predict, adapt, signature, shifted, 1e-4)


@pytest.mark.parametrize(("x", "excess"), [(1.0, 0.0), (0.9, 0.1)])
def test_only_what_rounding_can_change_is_excused(case, x, excess):
    """A step that opens a gate at p > x: at the tie the runtime may see it otherwise, away from it never."""

    def step(p, x):
        return p - 0.1 * (p > x).float(), p

    signature = dataclasses.replace(case[4], trainable=("p",))
    tensors = torch.tensor(1.0), torch.tensor(x)
    (right, _) = step(*tensors)
    other = 1.9 - right  # the choice torch did not make
    found, name, _ = _step_excess(step, tensors, [other], signature)
    assert name == "p"
    assert found == pytest.approx(excess / max(1.0, float(right)), abs=1e-6)


def test_a_loss_that_explodes_ends_the_sanity_vector():
    losses = [torch.tensor(value) for value in (1.0, 5.0, 11.0, 2.0)]
    assert steady_steps(losses) == 2
    assert steady_steps([torch.tensor(float("nan"))]) == 1
    assert steady_steps(losses[:2]) == 2


@pytest.mark.slow
def test_adaptation_that_always_diverges_is_refused(case):
    initialization, _, reference, step, signature, batch = case
    policy = dataclasses.replace(initialization.adaptation, inner_lr=1e9)
    steep = dataclasses.replace(initialization, adaptation=policy)
    onnx = exported(step, initialization, signature, batch)
    with pytest.raises(BundleError, match=r"diverges .* even at 0\.001 times inner_lr 1e\+09"):
        verify_step(steep, reference, step, onnx, signature, batch)


def test_probes_depend_on_the_content_only(case):
    initialization, *_ = case
    one, two = probe_batch(initialization, 6), probe_batch(initialization, 6)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    other = start("mlp", (6,), 3, options={"hidden": (8,)}, seed=1)
    assert not torch.equal(probe_batch(other, 6)[0], one[0])
    assert one[2].tolist() == [1, 1, 1, 1, 1, 0]
    assert probe_batch(initialization, 1)[2].tolist() == [1]
