"""An inference graph as calls of the C runtime's kernels, on views of buffers.

What only moves numbers (transposes, slices, reshapes, splits) becomes another view of the same buffer and
costs nothing. What computes becomes a call with a buffer of its own.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.onnx_pb import ModelProto, NodeProto

from acclimate.errors import BundleError

Ints = tuple[int, ...]


@dataclass(eq=False)
class Buffer:
    """Floats that lie together: an input, a constant, or what a call writes.

    Attributes:
        base: how C names its address; empty until it is placed in the arena.
        size: floats.
        constant: its numbers, where the graph holds them.
    """

    base: str
    size: int
    constant: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class View:
    """A tensor: which floats of a buffer, in which order."""

    buffer: Buffer
    offset: int
    shape: Ints
    strides: Ints

    @staticmethod
    def of(buffer: Buffer, shape: Ints) -> View:
        return View(buffer, 0, shape, contiguous(shape))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dense(self) -> bool:
        """Whether its numbers follow one another."""
        wanted = contiguous(self.shape)
        return all(
            size == 1 or ours == theirs
            for size, ours, theirs in zip(self.shape, self.strides, wanted, strict=True)
        )

    def expanded(self, shape: Ints) -> View:
        """Broadcast to `shape`."""
        missing = len(shape) - len(self.shape)
        sizes, strides = (1,) * missing + self.shape, (0,) * missing + self.strides
        pairs = zip(sizes, strides, strict=True)
        return replace(self, shape=shape, strides=tuple(0 if size == 1 else stride for size, stride in pairs))


@dataclass
class Call:
    """A call of a kernel.

    Attributes:
        kernel: the C function, with the operation it takes first, as `acc_map_one ACC_RELU`.
        reads: its operands.
        writes: where its results go.
        shape: the struct that says of which shape they are: its C type and its fields.
        over: buffer of an operand that the result may be written over.
    """

    kernel: str
    reads: list[View]
    writes: View
    shape: tuple[str, Mapping[str, Sequence[int] | int]]
    over: Buffer | None = None


@dataclass
class Program:
    """A graph as calls, in order.

    Attributes:
        outputs: where the results are, by name.
        constants: buffers that C declares.
        multiply_adds: of all calls.
    """

    calls: list[Call] = field(default_factory=list)
    outputs: dict[str, View] = field(default_factory=dict)
    constants: list[Buffer] = field(default_factory=list)
    multiply_adds: int = 0


def contiguous(shape: Ints) -> Ints:
    """Strides of numbers that follow one another."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def simplified(data: bytes) -> ModelProto:
    """A graph for one example, its shapes worked out.

    Raises:
        BundleError: onnxruntime does not load it.
    """
    model = onnx.load_from_string(data)
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.ClearField("dim_param")
                dimension.dim_value = 1
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "simplified.onnx")
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base but this
            raise BundleError(f"onnxruntime does not load the graph for one example: {error}") from error
        return onnx.load(options.optimized_model_filepath)


Handler = Callable[["Reader", NodeProto, Mapping[str, Any]], None]


def program(model: ModelProto, inputs: Mapping[str, Buffer], handlers: Mapping[str, Handler]) -> Program:
    """The calls that compute a simplified graph's outputs.

    Args:
        inputs: where the graph's inputs are, by name.
        handlers: what each operator becomes.

    Raises:
        BundleError: an operator has no kernel; the message names it and what to do.
    """
    reader = Reader(model, inputs)
    outputs = [value.name for value in model.graph.output]
    reader.read(handlers, outputs)
    return reader.with_outputs(outputs)


def step_program(
    model: ModelProto,
    inputs: Mapping[str, Buffer],
    moved: Mapping[str, Buffer],
    handlers: Mapping[str, Handler],
) -> Program:
    """The calls of one gradient step, which take what it moves each parameter by from a place in `moved`.

    That place may be the parameter itself: it is written only once nobody reads it any more. What the graph
    computes beside the next parameters, such as the loss, is left out.

    Args:
        moved: where each parameter's steps go, by the parameter's name.

    Raises:
        BundleError: as `program`.
    """
    reader, made_by = Reader(model, inputs), {name: node for node in model.graph.node for name in node.output}
    gone: dict[str, str | None] = {}
    for name in moved:
        last = made_by[f"next.{name.removeprefix('param.')}"]
        plain = last.op_type == "Sub" and last.input[0] == name
        gone[name] = last.input[1] if plain else None
    reader.read(handlers, [found or f"next.{name.removeprefix('param.')}" for name, found in gone.items()])
    for name, found in gone.items():
        reader.descend(name, found, moved[name])
    return reader.with_outputs([])


class Reader:
    """Walks a graph; handlers bind the names of its tensors to views, and add calls."""

    def __init__(self, model: ModelProto, inputs: Mapping[str, Buffer]) -> None:
        self._graph, self._made = model.graph, Program()
        self._views: dict[str, View] = {}
        self._known: dict[str, np.ndarray[Any, Any]] = {}
        for tensor in self._graph.initializer:
            self._known[tensor.name] = numpy_helper.to_array(tensor)
        for value in self._graph.input:
            shape = tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
            self._views[value.name] = View.of(inputs[value.name], shape)

    def read(self, handlers: Mapping[str, Handler], wanted: Sequence[str]) -> None:
        """Every node that something in `wanted` needs."""
        needed, nodes = set(wanted), []
        for node in reversed(self._graph.node):
            if needed & set(node.output):
                nodes.append(node)
                needed |= set(node.input)
        for node in reversed(nodes):
            handler = handlers.get(node.op_type)
            if handler is None:
                raise BundleError(
                    f"the operator {node.op_type} has no kernel in the C runtime: use a model of plain or "
                    "convolutional layers (mlp, conv1d, gru, spectral), or a gateway with Python"
                )
            handler(self, node, {each.name: helper.get_attribute_value(each) for each in node.attribute})

    def with_outputs(self, names: Sequence[str]) -> Program:
        for name in names:
            self._made.outputs[name] = self._own(self._views[name])
        return self._made

    def descend(self, param: str, gone: str | None, to: Buffer) -> None:
        """Take `gone` from the numbers at `to` once `param` is read for the last time; without `gone`, what
        lies between `param` and what follows it."""
        before = self._views[param]
        if gone is None:
            after = self._views[f"next.{param.removeprefix('param.')}"]
            moved = self.mapped("acc_map_two ACC_SUB", before.shape, [before, after])
        else:
            moved = self.view(gone).expanded(before.shape)
        out = View.of(to, before.shape)
        call = Call("acc_descend", [moved], out, axes("acc_descend", out, [moved]))
        touched = [
            place
            for place, each in enumerate(self._made.calls)
            if each.writes.buffer is moved.buffer or any(r.buffer is before.buffer for r in each.reads)
        ]
        self._made.calls.insert(max(touched, default=-1) + 1, call)

    # ---- what a handler uses

    def view(self, name: str) -> View:
        if name not in self._views:
            constant = np.asarray(self._known[name], np.float32)
            buffer = Buffer(f"acc_constant_{len(self._made.constants)}", constant.size, constant.reshape(-1))
            self._made.constants.append(buffer)
            self._views[name] = View.of(buffer, constant.shape)
        return self._views[name]

    def ints(self, node: NodeProto, place: int, attributes: Mapping[str, Any], name: str) -> list[int] | None:
        """Whole numbers that are an attribute, or an input that the graph holds."""
        if name in attributes:
            return [int(value) for value in np.asarray(attributes[name]).reshape(-1)]
        if len(node.input) <= place or not node.input[place]:
            return None
        return [int(value) for value in self.known(node, place).reshape(-1)]

    def known(self, node: NodeProto, place: int) -> np.ndarray[Any, Any]:
        """An input that the graph holds."""
        name = node.input[place]
        if name not in self._known:
            raise BundleError(
                f"{node.op_type} takes {name!r} that only a run knows: use a model of fixed shapes"
            )
        return self._known[name]

    def counted(self, name: str) -> np.ndarray[Any, Any] | None:
        """Numbers known now that C need not hold in full; None where only a run knows them."""
        return None if name in self._views else self._known.get(name)

    def hold(self, name: str, numbers: np.ndarray[Any, Any]) -> None:
        """Know a tensor now; C holds it where something computes with it."""
        self._known[name] = numbers

    def bind(self, name: str, view: View) -> None:
        self._views[name] = view

    def fresh(self, shape: Ints) -> View:
        return View.of(Buffer("", math.prod(shape)), shape)

    def call(self, call: Call, multiply_adds: int = 0) -> View:
        self._made.calls.append(call)
        self._made.multiply_adds += multiply_adds
        return call.writes

    def dense(self, view: View) -> View:
        return view if view.dense else self.mapped("acc_map_one ACC_COPY", view.shape, [view])

    def mapped(self, kernel: str, shape: Ints, operands: list[View], to: View | None = None) -> View:
        """Element by element, broadcast to `shape`."""
        out = to or self.fresh(shape)
        spread = [operand.expanded(shape) for operand in operands]
        over = next(
            (each.buffer for each in spread if to is None and _may_be_overwritten(each, spread)), None
        )
        return self.call(Call(kernel, operands, out, axes(kernel, out, spread), over))

    def _own(self, view: View) -> View:
        """An output of its own: dense, and no input or constant."""
        if view.dense and not view.buffer.base and view.size == view.buffer.size:
            return view
        return self.mapped("acc_map_one ACC_COPY", view.shape, [view], self.fresh(view.shape))


def _may_be_overwritten(view: View, operands: Sequence[View]) -> bool:
    """Whether element i of a result may take the place of element i of this operand."""
    whole = view.dense and view.size == view.buffer.size and not view.buffer.base
    return whole and all(other == view for other in operands if other.buffer is view.buffer)


def axes(kernel: str, out: View, operands: Sequence[View]) -> tuple[str, Mapping[str, Sequence[int]]]:
    """The fewest axes that say the same, of at most four.

    Raises:
        BundleError: more are needed.
    """
    rows = [
        list(each) for each in zip(out.shape, out.strides, *(view.strides for view in operands), strict=True)
    ]
    merged: list[list[int]] = []
    for row in (row for row in rows if row[0] != 1):
        if merged and all(
            before == stride * row[0] for before, stride in zip(merged[-1][1:], row[1:], strict=True)
        ):
            merged[-1] = [merged[-1][0] * row[0], *row[1:]]
        else:
            merged.append(row)
    if len(merged) > 4:
        raise BundleError(
            f"{kernel.split()[-1]} needs {len(merged)} axes, the C runtime has 4: use fewer axes"
        )
    merged = [[1] + [0] * (len(operands) + 1)] * (4 - len(merged)) + merged
    columns = list(zip(*merged, strict=True))
    names = ("size", "out", "a", "b", "c")
    return "acc_choice" if len(operands) > 2 else "acc_axes", dict(zip(names, columns, strict=False))
