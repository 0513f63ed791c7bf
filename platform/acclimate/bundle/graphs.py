"""Tracing to ONNX: the step through torch's function transforms, the prediction straight.

`torch.export` cannot see through `torch.func.grad`, so the step is first flattened by `make_fx` under the
decomposition table, which leaves a plain graph. The exporter's tracebacks and inferred shapes outweigh a
small graph tenfold and are stripped; what remains is the same bytes for the same model every time.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from acclimate.bundle.decompositions import UnsupportedOperator, decomposition_table
from acclimate.errors import BundleError

OPSET = 20
IR_VERSION = 10
"""The newest pair that onnxruntime 1.20 and later read."""


def trace_step(step: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor]) -> GraphModule:
    """Flatten forward, backward and update into one graph of forward operators.

    Raises:
        BundleError: an operator has no inference form; the message names it.
    """
    try:
        # Attention's fused kernels have no translatable backward; the plain one has.
        with sdpa_kernel(SDPBackend.MATH):
            return make_fx(step, decomposition_table=decomposition_table(), tracing_mode="real")(*tensors)
    except UnsupportedOperator as error:
        raise BundleError(f"the adaptation step cannot be exported, it needs {error}") from error
    except RuntimeError as error:
        raise BundleError(f"the adaptation step cannot be traced: {_first_line(error)}") from error


def step_to_onnx(
    graph: GraphModule, tensors: Sequence[Tensor], inputs: list[str], outputs: list[str]
) -> bytes:
    """Serialize a traced step.

    Raises:
        BundleError: an operator has no ONNX translation; the message names it.
    """
    with _quiet():
        program = torch.export.export(graph, tuple(tensors), strict=False)
    return _to_onnx(program, inputs, outputs, dynamic_shapes=None)


def predict_to_onnx(model: nn.Module, params: dict[str, Tensor], x: Tensor) -> bytes:
    """Serialize the forward pass: inputs `param.*` and `x` (any batch size), output `outputs`.

    Raises:
        BundleError: an operator has no ONNX translation; the message names it.
    """
    names = list(params)
    shapes = {"tensors": (*(None for _ in names), {0: torch.export.Dim("batch")})}
    tensors = (*params.values(), _several(x))
    with _quiet(), sdpa_kernel(SDPBackend.MATH):
        try:
            program = torch.export.export(
                _Forward(model, names), tensors, dynamic_shapes=shapes, strict=False
            )
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"the prediction cannot be traced: {_first_line(error)}") from error
        program = program.run_decompositions(decomposition_table())
    return _to_onnx(program, [*(f"param.{name}" for name in names), "x"], ["outputs"], dynamic_shapes=shapes)


def _several(x: Tensor) -> Tensor:
    """At least two examples: `torch.export` takes an axis of one for fixed, and it is to be free."""
    return x if len(x) > 1 else torch.cat([x, x])


def module_to_onnx(
    module: nn.Module, tensors: tuple[Tensor, ...], inputs: list[str], outputs: list[str], *, batched: bool
) -> bytes:
    """Serialize a module that takes its parameters as inputs.

    Args:
        batched: whether the first axis of the last input, and of every output, is free.

    Raises:
        BundleError: an operator has no ONNX translation; the message names it.
    """
    tensors = (*tensors[:-1], _several(tensors[-1])) if batched else tensors
    free = {0: torch.export.Dim("batch")} if batched else None
    shapes = {"tensors": (*(None for _ in inputs[:-1]), free)}
    with _quiet(), sdpa_kernel(SDPBackend.MATH):
        try:
            program = torch.export.export(module, tensors, dynamic_shapes=shapes, strict=False)
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"the features cannot be traced: {_first_line(error)}") from error
        program = program.run_decompositions(decomposition_table())
    return _to_onnx(program, inputs, outputs, dynamic_shapes=shapes)


class _Forward(nn.Module):
    """The model as a function of its parameters; it keeps none of its own."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        # in a tuple, so that torch does not register the model and its parameters as ours
        self._model = (model,)
        self._names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        params = dict(zip(self._names, tensors[:-1], strict=True))
        outputs: Tensor = functional_call(self._model[0], params, (tensors[-1],))
        return outputs


def _to_onnx(
    program: torch.export.ExportedProgram, inputs: list[str], outputs: list[str], dynamic_shapes: Any
) -> bytes:
    with _quiet():
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                optimize=True,
                verbose=False,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=dynamic_shapes,
            )
        except torch.onnx.OnnxExporterError as error:
            raise BundleError(_refusal(error)) from error
    assert exported is not None
    model: onnx.ModelProto = exported.model_proto
    _strip(model)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> None:
    """Drop everything a runtime does not read; shapes of inputs and outputs stay."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "acclimate", "", ""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns and logs about its own inner workings; refusals come as exceptions."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _refusal(error: BaseException) -> str:
    """The operator that has no translation, dug out of the exporter's chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        found = re.search(r"OpOverload\(op='([^']+)', overload='([^']+)'\)", str(cause))
        if found:
            return (
                f"the operator {found[1]}.{found[2]} has no inference form, so the model cannot run on a "
                "device: build the model without it (acclimate's own models avoid such operators)"
            )
        cause = cause.__cause__
    return f"the graph has no ONNX form: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
