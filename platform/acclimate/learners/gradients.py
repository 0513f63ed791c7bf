"""From an objective to the meta-gradient of a stack of tasks: whole, chunk by chunk, or compiled.

A `GradientFunction` takes the meta-parameters, support, query and the weights of the query losses after each
inner step (None: the last alone). It returns a gradient for every meta-parameter and figures, both summed
over tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from acclimate.learners.config import LearnerConfig
from acclimate.learners.inner import Batch, Params
from acclimate.learners.objectives import (
    Inner,
    adapted,
    adapted_query,
    figures,
    pooled,
    reptile,
    serial_reptile,
)

Summed = tuple[dict[str, Tensor], dict[str, Tensor]]
GradientFunction = Callable[[dict[str, Tensor], Batch, Batch, Tensor | None], Summed]


def gradient_function(config: LearnerConfig, inner: Inner) -> GradientFunction:
    """The meta-gradient of `config.algorithm`."""
    if config.algorithm == "reptile":
        return _of_reptile(config, inner)
    if config.algorithm == "device-only":
        return _of_nothing(inner)
    return _of_objective(config, inner)


def under(meta: Params, prefix: str) -> dict[str, Tensor]:
    """The part of the meta-parameters whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in meta.items() if name.startswith(prefix)}


def compiled(function: GradientFunction) -> GradientFunction:
    """Compile `function` to native code, once for each set of shapes.

    It is traced to a flat graph first, forward and both backward passes at once. The code is made for one
    thread: the same graph gives the same bits in every process on the same kind of processor.
    """
    made: dict[object, tuple[Callable[..., list[Tensor]], list[str], list[str]]] = {}

    def run(meta: dict[str, Tensor], support: Batch, query: Batch, importance: Tensor | None) -> Summed:
        tensors = [*meta.values(), *support, *query, *([] if importance is None else [importance])]
        key = (importance is None, *((name, meta[name].shape) for name in meta), *(t.shape for t in tensors))
        if key not in made:
            made[key] = _compile(function, list(meta), tensors)
        code, gradient_names, figure_names = made[key]
        outputs = code(*tensors)
        count = len(gradient_names)
        return (
            dict(zip(gradient_names, outputs[:count], strict=True)),
            dict(zip(figure_names, outputs[count:], strict=True)),
        )

    return run


def _compile(
    function: GradientFunction, names: list[str], tensors: list[Tensor]
) -> tuple[Callable[..., list[Tensor]], list[str], list[str]]:
    gradient_names: list[str] = []
    figure_names: list[str] = []

    def flat(*arguments: Tensor) -> list[Tensor]:
        count = len(names)
        meta = dict(zip(names, arguments[:count], strict=True))
        sx, sy, sw, qx, qy, qw, *rest = arguments[count:]
        gradient, seen = function(meta, (sx, sy, sw), (qx, qy, qw), rest[0] if rest else None)
        gradient_names[:], figure_names[:] = gradient, seen
        return [*gradient.values(), *seen.values()]

    graph = make_fx(flat)(*tensors)
    # The C++ wrapper spares Python between kernels: a seventh of a step on the sinusoid network.
    options: dict[str, str | int | bool | Callable[..., Any]] = {
        "cpp.threads": 1,
        "cpp_wrapper": True,
        "deterministic": True,
    }
    return torch.compile(graph, dynamic=False, options=options), gradient_names, figure_names


def _of_objective(config: LearnerConfig, inner: Inner) -> GradientFunction:
    def gradient(meta: dict[str, Tensor], support: Batch, query: Batch, importance: Tensor | None) -> Summed:
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in meta.items()}
        params = under(leaves, "param.")
        with torch.enable_grad():
            total, seen = (
                pooled(inner, params, support, query)
                if config.algorithm == "joint"
                else adapted_query(inner, params, under(leaves, "rate."), support, query, importance)
            )
            gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, gradients, strict=True)), seen

    return gradient


def _of_reptile(config: LearnerConfig, inner: Inner) -> GradientFunction:
    def gradient(meta: dict[str, Tensor], support: Batch, query: Batch, importance: Tensor | None) -> Summed:
        params = under(meta, "param.")
        moved, seen = (
            serial_reptile(inner, params, support, query, config.serial_rate)
            if config.serial
            else reptile(inner, params, support, query)
        )
        return {f"param.{name}": tensor for name, tensor in moved.items()}, seen

    return gradient


def _of_nothing(inner: Inner) -> GradientFunction:
    """Device-only shares nothing: the start stays where it is, and only its figures are worth having."""

    def gradient(meta: dict[str, Tensor], support: Batch, query: Batch, importance: Tensor | None) -> Summed:
        after = adapted(inner, under(meta, "param."), {}, support, inner.steps)[-1]
        with torch.no_grad():
            units = inner.units_at(under(meta, "param."), query[0])
            seen = figures(inner.loss, inner.forward(after, query[0]), query, units)
        return {name: torch.zeros_like(tensor) for name, tensor in meta.items()}, seen

    return gradient
