"""From an objective to the meta-gradient of a stack of tasks: whole, chunk by chunk, or compiled.

A `GradientFunction` takes the meta-parameters, support, query and the weights of the query losses after each
inner step (None: the last alone). It returns a gradient for every meta-parameter and figures, both summed
over tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import Node
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

# The C++ wrapper spares Python between kernels: a seventh of a step on the sinusoid network.
_OPTIONS: dict[str, Any] = {"cpp.threads": 1, "cpp_wrapper": True, "deterministic": True}


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


class Compiled:
    """A `GradientFunction` in native code, made once for each set of shapes and kinds of number.

    It is traced to a flat graph first, forward and both backward passes at once. The code is made for one
    thread: the same graph gives the same bits in every process on the same kind of processor. Several threads
    may call it at a time: Python's lock is not held meanwhile.

    Args:
        model: what `function` computes with; traced as it trains.

    Attributes:
        draws: whether what it computes may depend on torch's generator: it does not where no operator of the
            last graph draws from it.
    """

    def __init__(self, function: GradientFunction, model: nn.Module) -> None:
        self.draws = True
        self._function, self._model = function, model
        self._made: dict[object, _Native] = {}
        self._making = Lock()

    def __call__(
        self, meta: dict[str, Tensor], support: Batch, query: Batch, importance: Tensor | None
    ) -> Summed:
        given = [*meta.values(), *support, *query, *([] if importance is None else [importance])]
        tensors = [tensor.contiguous() for tensor in given]  # native code trusts strides, shapes and kinds
        key = (importance is None, *meta, *((tensor.shape, tensor.dtype) for tensor in tensors))
        if key not in self._made:
            with self._making:
                if key not in self._made:
                    self._made[key] = self._make(list(meta), tensors)
        native = self._made[key]
        outputs = native.code(*tensors)
        count = len(native.gradient_names)
        return (
            dict(zip(native.gradient_names, outputs[:count], strict=True)),
            dict(zip(native.figure_names, outputs[count:], strict=True)),
        )

    def _make(self, names: list[str], tensors: list[Tensor]) -> _Native:
        gradient_names: list[str] = []
        figure_names: list[str] = []

        def flat(*arguments: Tensor) -> list[Tensor]:
            count = len(names)
            meta = dict(zip(names, arguments[:count], strict=True))
            sx, sy, sw, qx, qy, qw, *rest = arguments[count:]
            gradient, seen = self._function(meta, (sx, sy, sw), (qx, qy, qw), rest[0] if rest else None)
            gradient_names[:], figure_names[:] = gradient, seen
            return [*gradient.values(), *seen.values()]

        # Here, to spare those who do not compile seconds; whole, before two threads import parts of it.
        import torch._inductor.compile_fx
        from torch._inductor.cpu_vec_isa import pick_vec_isa

        def try_vectors() -> None:
            with suppress(Exception):  # what fails here fails again in the compiler, in words
                pick_vec_isa()

        # Beside tracing: this takes seconds, and who needs to know meanwhile waits for it at a lock.
        Thread(target=try_vectors, daemon=True).start()
        self._model.train()
        try:
            with torch.random.fork_rng(devices=[]):  # tracing draws, and the first shard is like others
                graph = make_fx(flat)(*tensors)
        finally:
            self._model.eval()
        for node in graph.graph.find_nodes(op="placeholder"):
            del node.meta["val"]  # each of another fake mode: the compiler makes its own, of the tensors
        self.draws = any(map(_draws, graph.graph.nodes))
        # Not `torch.compile`, which would trace the graph again and look at its guards in each step.
        code: Callable[..., list[Tensor]] = torch._inductor.standalone_compile(
            graph,
            [*tensors],
            dynamic_shapes="from_example_inputs",
            options={"config_patches": _OPTIONS},
            donate_graph_module=True,
        )
        return _Native(code, gradient_names, figure_names)


@dataclass(frozen=True)
class _Native:
    code: Callable[..., list[Tensor]]
    gradient_names: list[str]
    figure_names: list[str]


def _draws(node: Node) -> bool:
    return isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags


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
