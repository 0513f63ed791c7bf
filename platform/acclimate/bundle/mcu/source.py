"""`model.h` and `model.c`: a network and its preprocessing in C99, the same bytes for the same bundle."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acclimate.bundle.mcu.functions import Function, functions_of
from acclimate.bundle.mcu.graph import Buffer, View
from acclimate.bundle.mcu.size import Footprint, footprint
from acclimate_device.bundle import Bundle
from acclimate_device.mcu.examples import exact
from acclimate_device.mcu.weights import fits_c, topology
from acclimate_device.protocol import ClosedForm, Manifest

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


def source_of(bundle: Bundle, part: int | None = None) -> Source:
    """Generate.

    Args:
        part: examples of one pass of a gradient step; None takes the whole batch at once.

    Raises:
        BundleError: the bundle is of a kind that the C runtime does not know, or an operator has no kernel.
    """
    functions, places = functions_of(bundle, part)
    macros = _macros(bundle.manifest) | places
    d = macros["D"] if macros.get("HEAD_LAST") else 0
    macros["SCRATCH"] = max(8, macros["OUTPUTS"] + d)
    return Source(
        _header(macros, functions),
        _code(bundle, macros, functions),
        macros,
        footprint(bundle.manifest, macros, functions),
    )


def _macros(manifest: Manifest) -> dict[str, int]:
    input_, output, steps = manifest.input, manifest.output, manifest.input.preprocessing
    adaptation = fits_c(manifest)
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
        "LOSS": _LOSSES[adaptation.loss],
        **(_of_heads(adaptation) if isinstance(adaptation, ClosedForm) else {}),
        "GROUPS": groups,
        "SHIFT": groups * (2 if samples > 1 else 1),
        "MAY_STAND": int(not windows or output.kind == "forecasting"),
        "HOLD": int(gaps and windows),
        "CARRY": int(gaps and not windows),
        "HAS_OFFSET": int(bool(steps.offset)),
        "HAS_RELATIVE": int(relative),
        "EXACT": int(exact(manifest)),
        "BOUNDS": (2 if steps.beyond == "refuse" else 1) if bounded else 0,
    }


def _of_heads(adaptation: ClosedForm) -> dict[str, int]:
    heads = adaptation.heads
    return {
        "HEADS": len(heads),
        "EXPERTS": 1 + len(heads),
        "HEAD_LAST": int("last" in heads),
        "HEAD_MEANS": int("means" in heads),
    }


def _header(macros: Mapping[str, int], functions: Sequence[Function]) -> str:
    lines = [f"#define ACC_{name} {value}" for name, value in macros.items()]
    declared = [line for each in functions for line in (f"/* {each.comment} */", f"{each.signature};")]
    return "\n".join([
        "/* Written by `acclimate export --target c`: what the network is. Weights come apart, as a blob. */",
        "#ifndef ACC_MODEL_H",
        "#define ACC_MODEL_H",
        "",
        "#include <stdint.h>",
        "",
        *lines,
        "",
        f"typedef {'double' if macros['EXACT'] else 'float'} acc_real; /* of recorded inputs */",
        "extern const uint8_t acc_topology[32];",
        *(["extern const uint8_t acc_relative[ACC_CHANNELS];"] if macros["HAS_RELATIVE"] else []),
        *declared,
        "",
        "#endif",
        "",
    ])  # fmt: skip


def _code(bundle: Bundle, macros: Mapping[str, int], functions: Sequence[Function]) -> str:
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
    if macros["HAS_RELATIVE"]:
        flags = (int(name in manifest.input.preprocessing.relative) for name in manifest.input.channels)
        lines.append(f"const uint8_t acc_relative[ACC_CHANNELS] = {{{', '.join(map(str, flags))}}};")
    constants: dict[str, str] = {}
    for buffer in (each for function in functions for each in function.program.constants):
        assert buffer.constant is not None
        values = ", ".join(_number(float(value)) for value in buffer.constant)
        buffer.base = constants.setdefault(
            f"static const float %s[{buffer.size}] = {{{values}}};", f"acc_constant_{len(constants)}"
        )
    lines += [declaration % name for declaration, name in constants.items()]
    for function in functions:
        lines += ["", f"{function.signature} {{", *_body(function), "}"]
    return "\n".join([*lines, ""])


def _body(function: Function) -> list[str]:
    body: list[str] = []
    shapes: dict[str, str] = {}
    for call in function.program.calls:
        kind, fields = call.shape
        text = ", ".join(f".{name} = {_value(value)}" for name, value in fields.items())
        name = shapes.setdefault(f"static const {kind} %s = {{{text}}};", f"shape_{len(shapes)}")
        kernel, _, operation = call.kernel.partition(" ")
        reads = [_address(view, function.at) for view in call.reads]
        if kernel in ("acc_matmul", "acc_convolve", "acc_convolve_back") and len(reads) == 2:
            reads.append("0")
        if kernel == "acc_descend":
            reads.append("scale")
        arguments = [
            *([operation] if operation else []), _address(call.writes, function.at), *reads, f"&{name}"
        ]  # fmt: skip
        body.append(f"    {kernel}({', '.join(arguments)});")
    given = re.findall(r"(\w+)[,)]", function.signature)
    unused = [name for name in given if not re.search(rf"\b{name}\b", " ".join(body))]
    declared = [f"    {declaration % name}" for declaration, name in shapes.items()]
    return [*declared, *(f"    (void){name};" for name in unused), *body]


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
