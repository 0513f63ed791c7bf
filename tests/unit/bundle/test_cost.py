"""Multiply-adds against figures counted by hand; B examples, forward + weight gradient + input gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from acclimate.bundle.cost import prediction_multiply_adds, step_cost
from acclimate.bundle.graphs import trace_step
from acclimate.bundle.step import StepSignature, step_function, step_inputs
from acclimate.initialization import (
    AdaptationPolicy,
    Initialization,
    InputSchema,
    ModelSpec,
    Normalization,
)
from acclimate.learners import loss_for

B = 10


def cost_of(model, shape, classes, trainable=()):
    params = {name: param.detach().clone() for name, param in model.named_parameters()}
    initialization = Initialization(
        params=params,
        model=ModelSpec("by hand", shape, classes),
        schema=InputSchema("classification", ("a",)),
        normalization=Normalization((), ()),
        adaptation=AdaptationPolicy(1, 0.1, 2, trainable),
        learner="maml",
    )
    signature = StepSignature.of(initialization)
    batch = torch.randn(B, *shape), torch.arange(B) % classes, torch.ones(B)
    tensors = step_inputs(initialization, signature, params, batch)
    step = step_function(model, loss_for("classification"), signature)
    return step_cost(trace_step(step, tensors), tensors)


def mlp():
    return nn.Sequential(nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 5))


def test_mlp():
    forward = B * (16 * 40 + 40 * 5)
    weights = forward
    inputs = B * 40 * 5  # of the second layer only: nobody needs the gradient of x
    assert cost_of(mlp(), (16,), 5).multiply_adds == forward + weights + inputs


def test_head_only_pays_no_backward_pass_through_the_body():
    forward = B * (16 * 40 + 40 * 5)
    assert cost_of(mlp(), (16,), 5, ("2.weight", "2.bias")).multiply_adds == forward + B * 40 * 5


def test_convolutions():
    length = 64
    first, second, head = B * length * 3 * 8 * 5, B * length * 8 * 4 * 3, B * 4 * length * 5
    model = nn.Sequential(
        nn.Conv1d(3, 8, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(8, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * length, 5),
    )
    assert cost_of(model, (3, length), 5).multiply_adds == 2 * first + 3 * second + 3 * head


def test_image_convolution_with_stride():
    # 8x8 to 4x4, 2 to 6 channels, kernel 3: each output is read by 2*9 products, forward and for the weights
    conv, head = B * 4 * 4 * 6 * 2 * 9, B * 6 * 16 * 3
    model = nn.Sequential(nn.Conv2d(2, 6, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(96, 3))
    # A stride leaves a rest of one row and column, which the weight gradient computes and drops: 4x4 not 3x3.
    weights = B * 4 * 4 * 6 * 2 * 16
    assert cost_of(model, (2, 8, 8), 3).multiply_adds == conv + weights + 3 * head


def test_depthwise_convolution():
    length = 32
    depthwise, head = B * length * 4 * 5, B * 4 * length * 2
    model = nn.Sequential(nn.Conv1d(4, 4, 5, padding=2, groups=4), nn.Flatten(), nn.Linear(4 * length, 2))
    assert cost_of(model, (4, length), 2).multiply_adds == 2 * depthwise + 3 * head


def test_one_prediction():
    model = mlp()
    assert (
        prediction_multiply_adds(model, dict(model.named_parameters()), torch.randn(1, 16))
        == 16 * 40 + 40 * 5
    )


def test_peak_memory_of_a_linear_step():
    # Alive at the end: inputs, and all of the new parameters; the loss and logits' small tensors come on top.
    features, classes = 100, 4
    inputs = 4 * (features * classes + classes + B * features + B + 1) + 8 * B
    updated = 4 * (features * classes + classes)
    peak = cost_of(nn.Linear(features, classes), (features,), classes).peak_bytes
    # The weight's gradient and `lr` times it are alive with what they make.
    assert inputs + updated <= peak <= inputs + 3 * updated + 16 * 4 * B * classes


def test_peak_memory_grows_with_the_activations():
    def wide(hidden):
        return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    small, large = (cost_of(wide(hidden), (4,), 2).peak_bytes for hidden in (100, 1000))
    assert 8 < large / small < 10.5


@pytest.mark.parametrize("trainable", [("0.bias",), ("2.bias",)])
def test_fewer_trainable_parameters_never_cost_more(trainable):
    part, whole = cost_of(mlp(), (16,), 5, trainable), cost_of(mlp(), (16,), 5)
    assert part.multiply_adds < whole.multiply_adds
    assert part.peak_bytes <= whole.peak_bytes
