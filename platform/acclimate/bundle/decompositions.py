"""How PyTorch's backward kernels are written with forward operators only.

An inference runtime knows convolution, pooling and matrix products, but not their gradients. This table
rewrites every backward kernel that a small network needs into forward operators that ONNX has, so that
one adaptation step becomes an ordinary inference graph.

What cannot be rewritten raises `UnsupportedOperator`, which names the operator and the remedy. The table
leans on names inside torch (`torch._decomp`), which is why pyproject pins torch to one minor version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions

aten = torch.ops.aten

# Torch has these decompositions but leaves them out of its core set.
_EXTRA = (
    aten._log_softmax,
    aten._log_softmax_backward_data,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
    aten._softmax_backward_data,
    aten.elu_backward,
    aten.gelu_backward,
    aten.hardswish_backward,
    aten.hardtanh_backward,
    aten.huber_loss,
    aten.huber_loss_backward,
    aten.leaky_relu_backward,
    aten.linear_backward,
    aten.mse_loss,
    aten.mse_loss_backward,
    aten.native_batch_norm,
    aten.native_batch_norm_backward,
    aten.native_group_norm,
    aten.native_group_norm_backward,
    aten.native_layer_norm,
    aten.native_layer_norm_backward,
    aten.nll_loss_backward,
    aten.nll_loss_forward,
    aten.select_backward,
    aten.sigmoid_backward,
    aten.slice_backward,
    aten.smooth_l1_loss,
    aten.smooth_l1_loss_backward,
    aten.tanh_backward,
    aten.threshold_backward,
)


class UnsupportedOperator(Exception):  # noqa: N818 - a refusal that callers turn into a BundleError
    """An operator whose gradient has no inference form here; the message names it and what to use instead."""


def decomposition_table() -> dict[Any, Callable[..., Any]]:
    """Torch's own decompositions with ours on top, keyed by operator overload, for `make_fx`."""
    table: dict[Any, Callable[..., Any]] = dict(core_aten_decompositions())
    table.update(get_decompositions(_EXTRA))
    table.update(
        {
            aten.convolution_backward.default: _convolution_backward,
            aten.max_pool2d_with_indices_backward.default: _max_pool2d_backward,
            aten.avg_pool2d_backward.default: _avg_pool2d_backward,
            aten._adaptive_avg_pool2d_backward.default: _global_avg_pool2d_backward,
            aten.silu.default: _silu,
            aten.silu_backward.default: _silu_backward,
            # Backward formulas that allocate their result first; `* 0` and not `zeros`, because the exporter
            # would store a constant of the activation's shape in the file.
            aten.empty_like.default: lambda x, **_: x * 0.0,
        }
    )
    return table


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients for (input, weight, bias), where `mask` asks for them.

    The input's gradient is a transposed convolution. The weight's is the input correlated with the
    gradient: batch and channel axes change places, and so do stride and dilation.
    """
    if transposed:
        raise UnsupportedOperator(
            "the gradient of a transposed convolution: use upsampling and a convolution"
        )
    axes = x.dim() - 2
    stride, padding, dilation = (_per_axis(values, axes) for values in (stride, padding, dilation))
    kernel = weight.shape[2:]
    grad_x = grad_weight = grad_bias = None
    if mask[0]:
        reached = [
            (grad.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + 1
            for i in range(axes)
        ]
        missed = [x.shape[2 + i] - reached[i] for i in range(axes)]
        grad_x = aten.convolution(grad, weight, None, stride, padding, dilation, True, missed, groups)
    if mask[1]:
        inputs = x.chunk(groups, 1) if groups > 1 else (x,)
        outputs = grad.chunk(groups, 1) if groups > 1 else (grad,)
        parts = [
            _weight_gradient(part, grad_part, kernel, stride, padding, dilation)
            for part, grad_part in zip(inputs, outputs, strict=True)
        ]
        grad_weight = parts[0] if groups == 1 else torch.cat(parts, 0)
    if mask[2]:
        grad_bias = grad.sum([0, *range(2, 2 + axes)])
    return grad_x, grad_weight, grad_bias


def _weight_gradient(
    x: Tensor,
    grad: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    no_padding = [0] * len(kernel)
    swapped = aten.convolution(
        x.transpose(0, 1), grad.transpose(0, 1), None, dilation, padding, stride, False, no_padding, 1
    )
    weight = swapped.transpose(0, 1)
    for axis, size in enumerate(kernel):  # a stride that leaves a rest makes the result a little too long
        weight = weight.narrow(2 + axis, 0, size) if weight.shape[2 + axis] > size else weight
    return weight


def _max_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Send each gradient to the position its maximum came from; overlapping windows add up."""
    steps = _per_axis(list(stride) or kernel, 2)
    size = _per_axis(kernel, 2)
    zeros = (x * 0.0).flatten(-2)
    source, where = grad.flatten(-2), indices.flatten(-2)
    overlap = any(step < width for step, width in zip(steps, size, strict=True))
    spread = zeros.scatter_add(-1, where, source) if overlap else zeros.scatter(-1, where, source)
    return spread.reshape(x.shape)


def _avg_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    height, width = _per_axis(kernel, 2)
    if _per_axis(list(stride) or kernel, 2) != [height, width] or any(padding) or ceil_mode:
        raise UnsupportedOperator(
            "the gradient of average pooling with overlap or padding: make stride equal to the kernel "
            "and padding 0"
        )
    share = grad / float(divisor_override or height * width)
    *lead, rows, columns = share.shape
    share = share.unsqueeze(-1).unsqueeze(-3).expand(*lead, rows, height, columns, width)
    share = share.reshape(*lead, rows * height, columns * width)
    below, right = x.shape[-2] - rows * height, x.shape[-1] - columns * width
    return aten.constant_pad_nd(share, [0, right, 0, below]) if below or right else share


def _global_avg_pool2d_backward(grad: Tensor, x: Tensor) -> Tensor:
    if tuple(grad.shape[-2:]) != (1, 1):
        raise UnsupportedOperator(
            "the gradient of adaptive average pooling to more than one value: pool to 1, or use AvgPool"
        )
    return (grad / float(x.shape[-1] * x.shape[-2])).expand(x.shape)


def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return grad * (gate * (1 + x * (1 - gate)))


def _per_axis(values: Sequence[int], axes: int) -> list[int]:
    """One number stands for all axes, as in torch's own operators."""
    return list(values) * axes if len(values) == 1 else list(values)
