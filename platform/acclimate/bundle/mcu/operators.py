"""What each operator becomes: another view, or a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from onnx.onnx_pb import NodeProto

from acclimate.bundle.mcu.graph import Buffer, Call, Handler, Ints, Reader, View, axes, contiguous
from acclimate.errors import BundleError

Attributes = Mapping[str, Any]
Fields = dict[str, Sequence[int] | int]
HANDLERS: dict[str, Handler] = {}
"""By operator."""

_ONE = {
    "Relu": "RELU", "Sqrt": "SQRT", "Exp": "EXP", "Log": "LOG", "Tanh": "TANH", "Sigmoid": "SIGMOID",
    "Neg": "NEGATE", "Abs": "ABS", "Reciprocal": "RECIPROCAL", "Erf": "ERF", "Sign": "SIGN", "Not": "NOT",
}  # fmt: skip
_TWO = {
    "Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV", "Pow": "POW", "Max": "MAX", "Min": "MIN",
    "Greater": "ABOVE", "GreaterOrEqual": "AT_LEAST", "Less": "BELOW", "LessOrEqual": "AT_MOST",
    "Equal": "EQUAL", "And": "MUL", "Or": "MAX",
}  # fmt: skip
"""Truth is 1, and 0 is not."""
_FOLDS = {"ReduceMean": "ACC_MEAN_OF", "ReduceSum": "ACC_SUM", "ReduceMax": "ACC_LARGEST"}


def handles(*operators: str) -> Callable[[Handler], Handler]:
    """Puts a function among `HANDLERS`."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(operators, handler))
        return handler

    return register


@handles(*_ONE)
def one(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    reader.bind(node.output[0], reader.mapped(f"acc_map_one ACC_{_ONE[node.op_type]}", x.shape, [x]))


@handles(*_TWO)
def two(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    a, b = (reader.view(name) for name in node.input)
    shape = np.broadcast_shapes(a.shape, b.shape)
    reader.bind(node.output[0], reader.mapped(f"acc_map_two ACC_{_TWO[node.op_type]}", shape, [a, b]))


@handles("Where")
def choose(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    which, a, b = (reader.view(name) for name in node.input)
    shape = np.broadcast_shapes(which.shape, a.shape, b.shape)
    reader.bind(node.output[0], reader.mapped("acc_choose", shape, [which, a, b]))


@handles("ScatterElements")
def scatter(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    """Adds to places of each row, or writes there: the example's class, or where a maximum was."""
    table, at, values = (reader.view(name) for name in node.input)
    added = attributes.get("reduction", b"none") == b"add"
    out = reader.mapped("acc_map_one ACC_COPY", table.shape, [table])
    reader.call(
        Call(f"acc_scatter {int(added)}", [at, values], out, _rows(node, attributes, out, at, values))
    )
    reader.bind(node.output[0], out)


@handles("GatherElements")
def gather_elements(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    table, at = (reader.view(name) for name in node.input)
    out = reader.fresh(at.shape)
    fields = _rows(node, attributes, table, at, out)
    reader.bind(node.output[0], reader.call(Call("acc_gather", [at, table], out, fields)))


@handles(*_FOLDS)
def fold(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    asked = reader.ints(node, 1, attributes, "axes")
    if not asked and attributes.get("noop_with_empty_axes", 0):
        reader.bind(node.output[0], x)
        return
    folded = {axis % len(x.shape) for axis in asked} if asked else set(range(len(x.shape)))
    kept = tuple(1 if axis in folded else size for axis, size in enumerate(x.shape))
    out = reader.fresh(kept)
    # over the axes of what is read: those that are folded do not move the result
    spread = replace(
        out,
        shape=x.shape,
        strides=tuple(0 if axis in folded else stride for axis, stride in enumerate(out.strides)),
    )
    kernel = f"acc_reduce {_FOLDS[node.op_type]}"
    reader.call(Call(kernel, [x], out, axes(kernel, spread, [x])))
    left = tuple(size for axis, size in enumerate(x.shape) if axis not in folded)
    reader.bind(node.output[0], out if attributes.get("keepdims", 1) else View.of(out.buffer, left))


@handles("Identity", "Dropout", "Cast")
def same(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    reader.bind(node.output[0], reader.view(node.input[0]))


@handles("Reshape", "Flatten")
def reshape(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    if node.op_type == "Flatten":
        axis = int(attributes.get("axis", 1))
        wanted = [math.prod(x.shape[:axis]), math.prod(x.shape[axis:])]
    else:
        wanted = reader.ints(node, 1, attributes, "shape") or []
        wanted = [x.shape[place] if size == 0 else size for place, size in enumerate(wanted)]
        known = math.prod(size for size in wanted if size != -1)
        wanted = [x.size // known if size == -1 else size for size in wanted]
    shape = tuple(wanted)
    whole = reader.dense(x)
    reader.bind(node.output[0], replace(whole, shape=shape, strides=contiguous(shape)))


@handles("Squeeze", "Unsqueeze")
def squeeze(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    asked = reader.ints(node, 1, attributes, "axes")
    if node.op_type == "Squeeze":
        gone = (
            {axis % len(x.shape) for axis in asked} if asked else {a for a, n in enumerate(x.shape) if n == 1}
        )
        left = [axis for axis in range(len(x.shape)) if axis not in gone]
        reader.bind(node.output[0], _taken(x, left))
        return
    rank = len(x.shape) + len(asked or [])
    new = {axis % rank for axis in asked or []}
    old = iter(range(len(x.shape)))
    places = [None if axis in new else next(old) for axis in range(rank)]
    shape = tuple(1 if place is None else x.shape[place] for place in places)
    strides = tuple(0 if place is None else x.strides[place] for place in places)
    reader.bind(node.output[0], replace(x, shape=shape, strides=strides))


@handles("Transpose")
def transpose(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    reader.bind(node.output[0], _taken(x, list(attributes.get("perm", range(len(x.shape))[::-1]))))


@handles("Expand")
def expand(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    shape = np.broadcast_shapes(x.shape, tuple(reader.ints(node, 1, attributes, "shape") or []))
    reader.bind(node.output[0], x.expanded(shape))


@handles("Slice")
def cut(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    counted = reader.counted(node.input[0])
    x = (
        View.of(Buffer("", counted.size), counted.shape)
        if counted is not None
        else reader.view(node.input[0])
    )
    starts, ends = (
        reader.ints(node, place, attributes, name) or [] for place, name in ((1, "starts"), (2, "ends"))
    )
    where = reader.ints(node, 3, attributes, "axes") or list(range(len(starts)))
    steps = reader.ints(node, 4, attributes, "steps") or [1] * len(starts)
    for axis, start, end, step in zip(where, starts, ends, steps, strict=True):
        x = _sliced(x, axis % len(x.shape), slice(start, end, step))
    if counted is None:
        reader.bind(node.output[0], x)
    else:
        steps_of = [stride * np.arange(size) for size, stride in zip(x.shape, x.strides, strict=True)]
        reader.hold(node.output[0], counted.reshape(-1)[x.offset + sum(np.ix_(*steps_of))])


@handles("Split")
def split(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    axis = int(attributes.get("axis", 0)) % len(x.shape)
    even = [-(-x.shape[axis] // len(node.output))] * len(node.output)
    at = 0
    for name, size in zip(node.output, reader.ints(node, 1, attributes, "split") or even, strict=True):
        reader.bind(name, _sliced(x, axis, slice(at, at + size, 1)))
        at += size


@handles("Gather")
def gather(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x = reader.view(node.input[0])
    axis = int(attributes.get("axis", 0)) % len(x.shape)
    asked = reader.known(node, 1)
    places = [int(place) % x.shape[axis] for place in asked.reshape(-1)]
    if asked.ndim == 0:
        one_place = _sliced(x, axis, slice(places[0], places[0] + 1, 1))
        reader.bind(node.output[0], _taken(one_place, [each for each in range(len(x.shape)) if each != axis]))
        return
    if asked.ndim > 1:
        raise BundleError(
            f"Gather at places of shape {asked.shape} has no kernel in the C runtime: use one list"
        )
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
    out = reader.fresh(shape)
    for first, last in _even_runs(places):
        step = places[first + 1] - places[first] if last - first > 1 else 1
        stop = places[last - 1] + (1 if step > 0 else -1)
        part = _sliced(x, axis, slice(places[first], None if stop < 0 else stop, step))
        reader.mapped("acc_map_one ACC_COPY", part.shape, [part], _sliced(out, axis, slice(first, last, 1)))
    reader.bind(node.output[0], out)


@handles("Concat")
def concat(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    parts = [reader.view(name) for name in node.input]
    axis = int(attributes["axis"]) % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    out, at = reader.fresh(tuple(shape)), 0
    for part in parts:
        to = _sliced(out, axis, slice(at, at + part.shape[axis], 1))
        reader.mapped("acc_map_one ACC_COPY", part.shape, [part], to)
        at += part.shape[axis]
    reader.bind(node.output[0], out)


@handles("MatMul", "Gemm")
def product(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    a, b = (reader.view(name) for name in node.input[:2])
    bias = reader.view(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise BundleError("Gemm with alpha or beta has no kernel in the C runtime: use a plain linear layer")
    a = _taken(a, [1, 0]) if attributes.get("transA", 0) else a
    b = _taken(b, [1, 0]) if attributes.get("transB", 0) else b
    if len(a.shape) == 1 or len(b.shape) == 1:
        raise BundleError("MatMul with a vector has no kernel in the C runtime: use a linear layer")
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = reader.fresh((*outer, m, n))
    a, b = a.expanded((*outer, m, k)), b.expanded((*outer, k, n))
    spread = bias.expanded((m, n)) if bias is not None else None
    for place in np.ndindex(*outer):
        one_a, one_b, one_out = (_at(each, place) for each in (a, b, out))
        fields: Fields = {
            "m": m, "k": k, "n": n, "a_row": one_a.strides[0], "a_column": one_a.strides[1],
            "b_row": one_b.strides[0], "b_column": one_b.strides[1],
            "bias_row": spread.strides[0] if spread else 0, "bias_column": spread.strides[1] if spread else 0,
        }  # fmt: skip
        reads = [one_a, one_b, *([spread] if spread else [])]
        reader.call(Call("acc_matmul", reads, one_out, ("acc_product", fields)), m * k * n)
    reader.bind(node.output[0], out)


@handles("MaxPool", "AveragePool")
def pool(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    if attributes.get("count_include_pad", 0) and any(attributes.get("pads", ())):
        raise BundleError(
            "AveragePool that counts its padding has no kernel in the C runtime: leave out the padding"
        )
    x = reader.dense(reader.view(node.input[0]))
    where = len(node.output) > 1 and bool(node.output[1])
    if where and all(size == 1 for size in attributes["kernel_shape"]):
        reader.bind(node.output[0], x)
        reader.hold(node.output[1], np.arange(x.size).reshape(x.shape))
        return
    channels = x.shape[0] * x.shape[1]
    fields, size = _window(node, attributes, x, channels, 1, attributes["kernel_shape"])
    named = "acc_pool ACC_LARGEST" if node.op_type == "MaxPool" else "acc_pool ACC_MEAN_OF"
    out = reader.fresh((*x.shape[:2], *size))
    if where:  # of the largest: its place in all of `x`
        at = reader.fresh(out.shape)
        reader.bind(node.output[1], reader.call(Call("acc_pool ACC_PLACE", [x], at, ("acc_window", fields))))
    reader.bind(node.output[0], reader.call(Call(named, [x], out, ("acc_window", fields))))


@handles("Conv", "ConvTranspose")
def convolution(reader: Reader, node: NodeProto, attributes: Attributes) -> None:
    x, weight = (reader.dense(reader.view(name)) for name in node.input[:2])
    bias = reader.view(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    groups, back = int(attributes.get("group", 1)), node.op_type == "ConvTranspose"
    if back and (groups > 1 or bias):
        raise BundleError("ConvTranspose with groups or a bias has no kernel in the C runtime: use conv1d")
    channels = weight.shape[1] if back else weight.shape[0]
    fields, size = _window(
        node, attributes, x, groups, x.shape[1] // groups, weight.shape[2:], channels // groups
    )
    out = reader.fresh((x.shape[0], channels, *size))
    reads = [x, weight, *([bias] if bias else [])]
    taps = math.prod(weight.shape[2:]) * (x.shape[1] // groups)
    called = Call("acc_convolve_back" if back else "acc_convolve", reads, out, ("acc_window", fields))
    # one tap of a transposed one meets an input where strides allow that
    reader.bind(node.output[0], reader.call(called, out.size * taps))


def _window(
    node: NodeProto,
    attributes: Attributes,
    x: View,
    groups: int,
    inner: int,
    kernel: Sequence[int],
    out: int = 1,
) -> tuple[Fields, list[int]]:
    """The fields of `acc_window`, and the sizes of the result; one axis is a height of 1."""
    spatial = len(x.shape) - 2
    if spatial not in (1, 2) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise BundleError(f"{node.op_type} over shape {x.shape} has no kernel in the C runtime: use conv1d")

    def pair(values: Sequence[int], default: int) -> list[int]:
        return [default] * (2 - spatial) + list(values or [default] * spatial)

    taps, size = pair(kernel, 1), pair(x.shape[2:], 1)
    stride, dilation = pair(attributes.get("strides", ()), 1), pair(attributes.get("dilations", ()), 1)
    pads = list(attributes.get("pads") or [0] * (2 * spatial))
    before, after = pair(pads[:spatial], 0), pair(pads[spatial:], 0)
    if node.op_type == "ConvTranspose":
        more = pair(attributes.get("output_padding", ()), 0)
        made = [
            (size[i] - 1) * stride[i] + dilation[i] * (taps[i] - 1) + 1 + more[i] - before[i] - after[i]
            for i in (0, 1)
        ]
    else:
        rounded = math.ceil if attributes.get("ceil_mode", 0) else math.floor
        made = [
            rounded((size[i] + before[i] + after[i] - dilation[i] * (taps[i] - 1) - 1) / stride[i]) + 1
            for i in (0, 1)
        ]
    fields: Fields = {
        "batch": x.shape[0] if node.op_type.startswith("Conv") else 1, "groups": groups, "in": inner,
        "out": out, "in_size": size, "out_size": made, "kernel": taps, "stride": stride, "pad": before,
        "dilation": dilation,
    }  # fmt: skip
    return fields, made[2 - spatial :]


def _rows(
    node: NodeProto, attributes: Attributes, table: View, at: View, values: View
) -> tuple[str, Mapping[str, Sequence[int] | int]]:
    """Places along the last axis, row by row; the rows of all three follow one another evenly."""
    last = len(table.shape) - 1
    views = table, at, values
    if int(attributes.get("axis", 0)) % (last + 1) != last or at.shape[:-1] != table.shape[:-1]:
        raise BundleError(
            f"{node.op_type} of shape {at.shape} in {table.shape} has no kernel in the C runtime: use a "
            "model of plain or convolutional layers (mlp, conv1d)"
        )
    fields: dict[str, int] = {"rows": math.prod(table.shape[:-1]), "count": at.shape[-1]}
    for name, view in zip(("row", "at_row", "value_row"), views, strict=True):
        outer = [(size, stride) for size, stride in zip(view.shape, view.strides, strict=True)][:-1]
        outer = [(size, stride) for size, stride in outer if size > 1]
        if any(before != after * size for (_, before), (size, after) in pairwise(outer)):
            raise BundleError(
                f"{node.op_type} of rows that lie apart has no kernel in the C runtime: use an mlp"
            )
        fields[name] = outer[-1][1] if outer else 0
    for name, view in zip(("column", "at_column", "value_column"), views, strict=True):
        fields[name] = view.strides[-1]
    return "acc_rows", fields


def _taken(x: View, places: Sequence[int]) -> View:
    return replace(
        x,
        shape=tuple(x.shape[place] for place in places),
        strides=tuple(x.strides[place] for place in places),
    )


def _sliced(x: View, axis: int, part: slice) -> View:
    start, stop, step = part.indices(x.shape[axis])
    shape: Ints = (*x.shape[:axis], len(range(start, stop, step)), *x.shape[axis + 1 :])
    strides: Ints = (*x.strides[:axis], x.strides[axis] * step, *x.strides[axis + 1 :])
    return View(x.buffer, x.offset + start * x.strides[axis], shape, strides)


def _at(x: View, place: Sequence[int]) -> View:
    """The matrix at a place of the outer axes."""
    moved = sum(index * stride for index, stride in zip(place, x.strides, strict=False))
    return View(x.buffer, x.offset + moved, x.shape[-2:], x.strides[-2:])


def _even_runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Where evenly spaced places begin and end, so that one view is enough for each."""
    runs, first = [], 0
    while first < len(places):
        last = min(first + 2, len(places))
        while (
            last < len(places) and places[last] - places[last - 1] == places[first + 1] - places[first] != 0
        ):
            last += 1
        if last - first == 2 and places[first + 1] == places[first]:
            last -= 1
        runs.append((first, last))
        first = last
    return runs
