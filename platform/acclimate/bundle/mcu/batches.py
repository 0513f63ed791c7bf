"""The gradient step over fewer examples at a time: the same update, in a fraction of the memory.

The step's loss is a weighted mean, so what it moves the parameters by is the mean of what each part would,
weighted by the part's examples. A graph is made for the whole batch, with that size in its shapes. Here it
is replaced; whether the graph then still computes the same is found out by running both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnx.onnx_pb import ModelProto

from acclimate.errors import BundleError

_NEAR = 1e-4
_SHAPES = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""Which input of an operator is a shape."""


def with_batch(graph: bytes, whole: int, part: int) -> bytes:
    """The step `adapt.onnx` of `whole` examples for `part` of them.

    Raises:
        BundleError: the step is not the mean of its parts: it takes statistics over the batch, or more.
    """
    model = onnx.load_from_string(graph)
    del model.graph.value_info[:]
    for value in model.graph.input:
        if value.name in ("x", "y", "w"):
            value.type.tensor_type.shape.dim[0].dim_value = part
    shapes = {node.input[_SHAPES[node.op_type]] for node in model.graph.node if node.op_type in _SHAPES}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in shapes and values.size and values[0] == whole:
            values = np.concatenate([[part], values[1:]]).astype(values.dtype)
        elif values.ndim and values.shape[0] == whole and (values == values[:1]).all():
            values = values[:part]
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
    made: bytes = model.SerializeToString()
    try:
        apart = _apart(graph, made, whole, part)
    except Exception as error:  # onnxruntime's exceptions share no base but this
        raise BundleError(_refusal(part, str(error).splitlines()[0])) from None
    if not apart < _NEAR:
        raise BundleError(_refusal(part, f"parts differ from the whole by {apart:.1e}"))
    return made


def _refusal(part: int, why: str) -> str:
    return (
        f"one gradient step cannot be taken {part} examples at a time ({why}): use norm: group or none, "
        "fewer shots, or a smaller model"
    )


def _apart(whole_graph: bytes, part_graph: bytes, whole: int, part: int) -> float:
    """How far the sum over parts is from the whole step, beside the step, on made-up numbers."""
    rng = np.random.default_rng(0)
    model = onnx.load_from_string(whole_graph)
    feed = {value.name: _made_up(model, value, rng) for value in model.graph.input}
    feed["w"] = np.ones(whole, np.float32)
    names = [value.name for value in model.graph.output if value.name.startswith("next.")]
    expected = _session(whole_graph).run(names, feed)
    session, before = _session(part_graph), [feed[f"param.{name.removeprefix('next.')}"] for name in names]
    sums = [np.zeros(each.shape) for each in before]
    for at in range(0, whole, part):
        some = min(part, whole - at)
        places = [*range(at, at + some), *[at] * (part - some)]
        weights = np.asarray([1.0] * some + [0.0] * (part - some), np.float32)
        now = session.run(names, feed | {"x": feed["x"][places], "y": feed["y"][places], "w": weights})
        for total, after, start in zip(sums, now, before, strict=True):
            total += (after - start) * (some / whole)
    moved = [after - start for after, start in zip(expected, before, strict=True)]
    size = max(float(np.abs(each).max()) for each in moved)
    return max(
        float(np.abs(total - each).max()) / max(size, 1e-9) for total, each in zip(sums, moved, strict=True)
    )


def _made_up(model: ModelProto, value: Any, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
    if value.type.tensor_type.elem_type == TensorProto.INT64:
        return np.arange(shape[0]) % 2
    scale = 0.05 if value.name == "lr" or value.name.startswith("rate.") else 0.5
    made: np.ndarray[Any, Any] = (
        scale * (1 + rng.random(shape)) if scale < 0.1 else scale * rng.normal(size=shape)
    )
    return np.asarray(made, np.float32)


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
