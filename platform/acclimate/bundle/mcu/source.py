"""`model.h` and `model.c`: a network and its preprocessing in C99, the same bytes for the same bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acclimate.bundle.mcu.arena import plan
from acclimate.bundle.mcu.graph import Buffer, Program, View, program, simplified
from acclimate.bundle.mcu.operators import HANDLERS
from acclimate.bundle.mcu.size import Footprint, footprint
from acclimate_device.bundle import Bundle
from acclimate_device.mcu.weights import fits_c, numbers, topology
from acclimate_device.protocol import FEATURES, Manifest

_LOSSES = {"cross_entropy": 0, "mse": 1, "mae": 2, "huber": 3}


@dataclass(frozen=True)
class Source:
    """What the C compiler gets beside the runtime, and what it comes to.

    Attributes:
        header, code: the text of `model.h` and `model.c`.
        macros: every number in `model.h` by its name without `ACC_`.
        footprint: RAM, flash and instructions, predicted.
    """

    header: str
    code: str
    macros: Mapping[str, int]
    footprint: Footprint


def source_of(bundle: Bundle) -> Source:
    """Generate.

    Raises:
        BundleError: the bundle is of a kind that the C runtime does not know, or an operator has no kernel.
    """
    manifest, laid = bundle.manifest, numbers(bundle)
    places = dict(zip(laid, np.cumsum([0, *(each.size for each in laid.values())]).tolist(), strict=False))
    model = simplified(bundle.files[FEATURES])
    inputs = {"x": Buffer("x", math.prod(manifest.input.shape))}
    for name, each in laid.items():
        if name.startswith("param."):
            inputs[name] = Buffer(f"numbers + {places[name]}", each.size)
    graph = program(model, inputs, HANDLERS)
    at, arena = plan(graph)
    macros = _macros(manifest) | {
        f"AT_{name.upper()}": place for name, place in places.items() if "." not in name
    }
    macros |= {"NUMBERS": sum(each.size for each in laid.values()), "ARENA": arena}
    for head, name, view in (("D", "PHI", "phi"), ("R", "Z", "z")):
        out = graph.outputs.get(view)
        macros |= {head: out.size if out else 1, name: at[out.buffer] if out else 0}
    macros["SCRATCH"] = max(8, macros["OUTPUTS"] + (macros["D"] if macros["HEAD_LAST"] else 0))
    return Source(
        _header(macros, bool(macros["EXACT"])),
        _code(bundle, graph, at),
        macros,
        footprint(manifest, macros, graph),
    )


def _macros(manifest: Manifest) -> dict[str, int]:
    input_, output, steps = manifest.input, manifest.output, manifest.input.preprocessing
    heads = fits_c(manifest).heads
    channels, samples = input_.shape[0], math.prod(input_.shape[1:])
    windows, groups = len(input_.shape) == 2, min(channels, 16)
    gaps = steps.missing in ("hold", "season")
    relative = windows and bool(set(steps.relative) & set(input_.channels))
    bounded = bool(steps.low and steps.high)
    return {
        "INPUT": channels * samples,
        "CHANNELS": channels,
        "SAMPLES": samples,
        "OUTPUTS": output.width,
        "CLASSES": int(output.kind == "classification"),
        "LOSS": _LOSSES[fits_c(manifest).loss],
        "HEADS": len(heads),
        "EXPERTS": 1 + len(heads),
        "HEAD_LAST": int("last" in heads),
        "HEAD_MEANS": int("means" in heads),
        "GROUPS": groups,
        "SHIFT": groups * (2 if samples > 1 else 1),
        "MAY_STAND": int(not windows or output.kind == "forecasting"),
        "HOLD": int(gaps and windows),
        "CARRY": int(gaps and not windows),
        "HAS_OFFSET": int(bool(steps.offset)),
        "HAS_RELATIVE": int(relative),
        "EXACT": int(bool(steps.offset) or relative),
        "BOUNDS": (2 if steps.beyond == "refuse" else 1) if bounded else 0,
    }


def _header(macros: Mapping[str, int], exact: bool) -> str:
    lines = [f"#define ACC_{name} {value}" for name, value in macros.items()]
    return "\n".join([
        "/* Written by `acclimate export --target c`: what the network is. Weights come apart, as a blob. */",
        "#ifndef ACC_MODEL_H",
        "#define ACC_MODEL_H",
        "",
        "#include <stdint.h>",
        "",
        *lines,
        "",
        f"typedef {'double' if exact else 'float'} acc_real; /* of recorded inputs */",
        "extern const uint8_t acc_topology[32];",
        *(["extern const uint8_t acc_relative[ACC_CHANNELS];"] if macros["HAS_RELATIVE"] else []),
        "/* From a normalized example to what the heads read, in the arena. */",
        "void acc_features(const float *numbers, const float *x, float *arena);",
        "",
        "#endif",
        "",
    ])  # fmt: skip


def _code(bundle: Bundle, graph: Program, at: Mapping[Buffer, int]) -> str:
    manifest = bundle.manifest
    release = manifest.release
    lines = [
        "/* Written by `acclimate export --target c`: the network of "
        f"{_plain(release.name)} as calls of the runtime's kernels. */",
        '#include "model.h"',
        "",
        '#include "acc_kernels.h"',
        "",
        f"const uint8_t acc_topology[32] = {{{', '.join(map(str, topology(bundle)))}}};",
    ]
    if _macros(manifest)["HAS_RELATIVE"]:
        flags = (int(name in manifest.input.preprocessing.relative) for name in manifest.input.channels)
        lines.append(f"const uint8_t acc_relative[ACC_CHANNELS] = {{{', '.join(map(str, flags))}}};")
    for buffer in graph.constants:
        assert buffer.constant is not None
        values = ", ".join(_number(float(value)) for value in buffer.constant)
        lines.append(f"static const float {buffer.base}[{buffer.size}] = {{{values}}};")
    lines += ["", "void acc_features(const float *numbers, const float *x, float *arena) {"]
    body: list[str] = []
    shapes: dict[str, str] = {}
    for call in graph.calls:
        kind, fields = call.shape
        text = ", ".join(f".{name} = {_value(value)}" for name, value in fields.items())
        name = shapes.setdefault(f"static const {kind} %s = {{{text}}};", f"shape_{len(shapes)}")
        kernel, _, operation = call.kernel.partition(" ")
        reads = [_address(view, at) for view in call.reads]
        if kernel in ("acc_matmul", "acc_convolve") and len(reads) == 2:
            reads.append("0")
        arguments = [*([operation] if operation else []), _address(call.writes, at), *reads, f"&{name}"]
        body.append(f"    {kernel}({', '.join(arguments)});")
    lines += [f"    {declaration % name}" for declaration, name in shapes.items()]
    if "numbers" not in "".join(body):
        body.insert(0, "    (void)numbers;")
    return "\n".join([*lines, *body, "}", ""])


def _address(view: View, at: Mapping[Buffer, int]) -> str:
    base = view.buffer.base or f"arena + {at[view.buffer]}"
    return f"{base} + {view.offset}" if view.offset else base


def _value(value: Sequence[int] | int) -> str:
    return str(value) if isinstance(value, int) else f"{{{', '.join(map(str, value))}}}"


def _number(value: float) -> str:
    """A float32 to the bit."""
    return f"{value.hex()}f"


def _plain(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum() or letter in "-_. ")
