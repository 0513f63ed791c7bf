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
    why = ""
    for several in (False, True):  # a recurrent body has shapes of several rows an example, too
        made = _replaced(graph, whole, part, several)
        try:
            apart = _apart(graph, made, whole, part)
        except Exception as error:  # onnxruntime's exceptions share no base but this
            why = why or str(error).splitlines()[0]
            continue
        if apart < _NEAR:
            return made
        why = why or f"parts differ from the whole by {apart:.1e}"
    raise BundleError(
        f"one gradient step cannot be taken {part} examples at a time ({why}): use norm: group or none, "
        "fewer shots, or a smaller model"
    )


def _replaced(graph: bytes, whole: int, part: int, several: bool) -> bytes:
    """The graph with another batch in its shapes, where the first size is that, or several times that."""
    model = onnx.load_from_string(graph)
    del model.graph.value_info[:]
    for value in model.graph.input:
        if value.name in ("x", "y", "w"):
            value.type.tensor_type.shape.dim[0].dim_value = part
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes = {node.input[1] for node in model.graph.node if node.op_type == "Split" and len(node.input) > 1}
    for tensor in constants.values():
        values = numpy_helper.to_array(tensor)
        if tensor.name not in sizes and values.ndim and len(values) == whole and (values == values[:1]).all():
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[:part]), tensor.name))
    for node in model.graph.node:
        at = _SHAPES.get(node.op_type)
        shape = constants.get(node.input[at]) if at is not None else None
        values = np.asarray([]) if shape is None else numpy_helper.to_array(shape)
        rows = int(values[0]) if values.size else 0
        if at is not None and (rows == whole or (several and values.size > 1 and rows and rows % whole == 0)):
            name = f"{node.output[0]}, its shape"  # others may use the same numbers for something else
            values = np.concatenate([[rows // whole * part], values[1:]]).astype(np.int64)
            model.graph.initializer.append(numpy_helper.from_array(values, name))
            node.input[at] = name
    return bytes(model.SerializeToString())


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
