r"""Batch-statistics norm, ReLU and max pooling as one operator, differentiable twice.

In meta-training a convolutional network is bound by the memory traffic of its norm's double backward: torch
makes some thirty passes over the activations where five suffice. With N positions of a channel, x = (u -
mean(u)) r, r = (var(u) + eps)^-1/2, z = weight x + bias, and q the gradient of the pooled output scattered
to the maxima that
ReLU lets through:

    backward         du = A (q - m1 - x m2),  dweight = N m2,  dbias = N m1
                     with A = weight r, m1 = mean(q), m2 = mean(q x)

and for cotangents (v, a, b) of (du, dweight, dbias), with bars for means over N:

    double backward  dq = A (v - v̄ - x vx̄) + a x + b                            read at the maxima
                     du = r (h - h̄ - x (hx̄ + A D))                              h = -A m2 v + (a - A vx̄) q
                     dweight = N r D                                             D = vq̄ - v̄ m1 - vx̄ m2

Everything is linear in v, q and x with coefficients of the channel, so each line is one pass. Channels are
apart, so tasks may be folded into the channel axis.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from acclimate.models.native import kernel
from acclimate.models.norm import EPSILON

Window = tuple[int, int]


def norm_relu_pool(u: Tensor, weight: Tensor, bias: Tensor, window: Window) -> Tensor:
    """`max_pool2d(relu(batch_norm(u) * weight + bias), window)` on the processor.

    Args:
        u: `(examples, channels, height, width)`, float32 or float64; channels-last memory is fastest.
        weight: `(channels,)`.
        bias: `(channels,)`.
        window: height and width of the pooling window and its stride; (1, 1) does not pool.

    Raises:
        NoCompilerError: the kernel cannot be compiled here.
    """
    # Laid out here, not within, where the double backward would lose its way to the arguments.
    return _apply(_Forward, _last(u), weight.contiguous(), bias.contiguous(), window)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, weight: Tensor, bias: Tensor, window: Window) -> Tensor:
        examples, channels, height, width = u.shape
        size = (examples, channels, height // window[0], width // window[1])
        pooled = torch.empty(size, dtype=u.dtype, memory_format=torch.channels_last)
        where, mean, inverse = torch.empty_like(pooled), torch.empty_like(weight), torch.empty_like(weight)
        epsilon = ctypes.c_double(EPSILON) if u.dtype == torch.float64 else ctypes.c_float(EPSILON)
        _call("forward", u, window, epsilon, u, weight, bias, mean, inverse, pooled, where)
        ctx.save_for_backward(u, weight, mean, inverse, where)
        ctx.window = window
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        return *_apply(_Backward, gradient, *ctx.saved_tensors, ctx.window), None


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        u: Tensor,
        weight: Tensor,
        mean: Tensor,
        inverse: Tensor,
        where: Tensor,
        window: Window,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradient = _last(gradient)
        to_u, to_weight, to_bias = torch.empty_like(u), torch.empty_like(weight), torch.empty_like(weight)
        _call("backward", u, window, gradient, where, u, weight, mean, inverse, to_u, to_weight, to_bias)
        ctx.save_for_backward(gradient, u, weight, mean, inverse, where, to_weight, to_bias)
        ctx.window = window
        return to_u, to_weight, to_bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
        gradient, u, weight, mean, inverse, where, to_weight, to_bias = ctx.saved_tensors
        v, a, b = _last(v), a.contiguous(), b.contiguous()
        on_gradient = torch.zeros_like(gradient)
        on_u, on_weight = torch.empty_like(u), torch.empty_like(weight)
        known = (v, a, b, gradient, where, u, weight, mean, inverse, to_weight, to_bias)
        _call("double_backward", u, ctx.window, *known, on_gradient, on_u, on_weight)
        return on_gradient, on_u, on_weight, None, None, None, None


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    return function.apply(*arguments)  # type: ignore[no-untyped-call]  # torch leaves it without types


class _Shape(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_long) for axis in ("n", "h", "w", "c", "ph", "pw")]


def _call(name: str, u: Tensor, window: Window, *arguments: Any) -> None:
    function = getattr(kernel(), f"{name}_{str(u.dtype).removeprefix('torch.')}")
    examples, channels, height, width = u.shape
    shape = _Shape(examples, height, width, channels, *window)
    function(
        shape, *(ctypes.c_void_p(each.data_ptr()) if isinstance(each, Tensor) else each for each in arguments)
    )


def _last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)
