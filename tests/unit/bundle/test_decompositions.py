"""Every rewritten backward kernel against autograd, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from acclimate.bundle.decompositions import UnsupportedOperator, decomposition_table


def agrees(function, *inputs):
    """The traced gradients equal autograd's, and no backward kernel is left in the graph."""

    def gradients(*tensors):
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        output = function(*leaves)
        # a weight for each output, so that no two positions are interchangeable
        weights = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype).reshape(output.shape)
        return torch.autograd.grad((output * weights).sum(), leaves)

    graph = make_fx(gradients, decomposition_table=decomposition_table())(*inputs)
    left = [str(node.target) for node in graph.graph.nodes if "backward" in str(node.target)]
    assert not left
    for ours, theirs in zip(graph(*inputs), gradients(*inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(
    axes=st.integers(1, 2),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    size=st.integers(7, 10),
    bias=st.booleans(),
)
def test_convolution(axes, kernel, stride, padding, dilation, groups, size, bias):
    torch.manual_seed(0)
    x = torch.randn(3, 4, *[size] * axes, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, *[kernel] * axes, dtype=torch.float64)
    convolve = F.conv1d if axes == 1 else F.conv2d
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if bias:
        agrees(lambda x, w, b: convolve(x, w, b, **options), x, weight, torch.randn(6, dtype=torch.float64))
    else:
        agrees(lambda x, w: convolve(x, w, **options), x, weight)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, stride=2, padding=1),
        lambda x: F.max_pool2d(x, 3, stride=1),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, (3, 2)),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.max_pool1d(x.flatten(2), 4),
        lambda x: F.avg_pool1d(x.flatten(2), 4),
        lambda x: F.adaptive_avg_pool1d(x.flatten(2), 1),
        F.silu,
        F.mish,
        F.gelu,
        F.elu,
        F.leaky_relu,
        F.hardtanh,
        F.hardswish,
        F.softplus,
        torch.tanh,
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: F.group_norm(x, 2),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: torch.softmax(x, -1),
        lambda x: F.huber_loss(x, x.flip(-1).detach()),
        lambda x: F.smooth_l1_loss(x, x.flip(-1).detach()),
        lambda x: F.scaled_dot_product_attention(x, x + 1, x - 1),
    ],
)
def test_layers(function):
    torch.manual_seed(0)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        agrees(function, torch.randn(3, 4, 7, 6, dtype=torch.float64))


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: F.avg_pool2d(x, 3, stride=2), "average pooling with overlap"),
        (lambda x: F.avg_pool2d(x, 2, padding=1), "average pooling with overlap or padding"),
        (lambda x: F.adaptive_avg_pool2d(x, 2), "adaptive average pooling"),
        (lambda x: F.conv_transpose2d(x, torch.ones(4, 1, 2, 2, dtype=x.dtype)), "transposed convolution"),
    ],
)
def test_refusals_name_the_operator(function, named):
    with pytest.raises(UnsupportedOperator, match=named):
        agrees(function, torch.randn(3, 4, 6, 6, dtype=torch.float64))
