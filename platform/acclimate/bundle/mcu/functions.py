"""The C functions of a bundle's graphs: what the heads read, or a prediction and one gradient step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from acclimate.bundle.mcu.arena import plan
from acclimate.bundle.mcu.batches import with_batch
from acclimate.bundle.mcu.graph import Buffer, Program, program, simplified, step_program
from acclimate.bundle.mcu.operators import HANDLERS
from acclimate_device.bundle import Bundle
from acclimate_device.mcu.weights import Float, numbers, rate_sizes
from acclimate_device.online import OnlinePolicy
from acclimate_device.protocol import ADAPT, FEATURES, PREDICT, Adaptation


@dataclass(frozen=True)
class Function:
    """One graph in C.

    Attributes:
        comment: what it does.
        signature: the C declaration, without the semicolon.
        program: its calls.
        at: places of its buffers in the arena, in floats.
        arena: floats that it needs of it.
    """

    comment: str
    signature: str
    program: Program
    at: Mapping[Buffer, int]
    arena: int

    @staticmethod
    def of(comment: str, signature: str, made: Program) -> Function:
        at, arena = plan(made)
        return Function(comment, signature, made, at, arena)

    def place(self, output: str) -> int:
        return self.at[self.program.outputs[output].buffer]


Made = tuple[list[Function], dict[str, int]]
"""The functions, and what `model.h` says of them."""


def functions_of(bundle: Bundle, part: int | None) -> Made:
    """The functions of a bundle that `fits_c`.

    Args:
        part: examples of one pass of a gradient step; None takes the whole batch at once.

    Raises:
        BundleError: an operator has no kernel, or the step cannot be taken in parts.
    """
    laid = numbers(bundle)
    places, at = {}, 0
    for name, each in laid.items():
        places[name], at = at, at + each.size
    macros = {f"AT_{name.upper()}": place for name, place in places.items() if "." not in name}
    adaptation = bundle.manifest.adaptation
    if isinstance(adaptation, Adaptation):
        made, told = _steps(bundle, adaptation, laid, places, part or adaptation.batch)
    else:
        made, told = _heads(bundle, laid, places)
    arena = max(function.arena for function in made)
    return made, macros | {"NUMBERS": at, "ARENA": arena} | told


def _heads(bundle: Bundle, laid: Mapping[str, Float], places: Mapping[str, int]) -> Made:
    inputs = {"x": _input(bundle)} | _params(laid, places, {})
    graph = program(simplified(bundle.files[FEATURES]), inputs, HANDLERS)
    function = Function.of(
        "From a normalized example to what the heads read, in the arena.",
        "void acc_features(const float *numbers, const float *x, float *arena)",
        graph,
    )
    macros = {"GRADIENT": 0}
    for head, name, view in (("D", "PHI", "phi"), ("R", "Z", "z")):
        out = graph.outputs.get(view)
        macros |= {head: out.size if out else 1, name: function.place(view) if out else 0}
    return [function], macros


def _steps(
    bundle: Bundle, adaptation: Adaptation, laid: Mapping[str, Float], places: Mapping[str, int], part: int
) -> Made:
    moving = [f"param.{name}" for name in adaptation.trainable]
    first = places[moving[0]]
    moves = {name: places[name] - first for name in moving}
    size = sum(laid[name].size for name in moving)
    params = _params(laid, places, moves)
    predict = Function.of(
        "From a normalized example to the outputs, in the arena.",
        "void acc_outputs(const float *numbers, const float *params, const float *x, float *arena)",
        program(simplified(bundle.files[PREDICT]), {"x": _input(bundle)} | params, HANDLERS),
    )
    manifest = bundle.manifest
    classes = manifest.output.kind == "classification"
    inputs = params | {
        "x": Buffer("x", part * math.prod(manifest.input.shape)),
        "y": Buffer("y", part * (1 if classes else manifest.output.width)),
        "w": Buffer("w", part),
    }
    rates = 0
    for name, count in rate_sizes(bundle).items():
        inputs[name] = Buffer(f"rates + {rates}", count)
        rates += count
    graph = bundle.files[ADAPT]
    if part < adaptation.batch:
        graph = with_batch(graph, adaptation.batch, part)
    step = Function.of(
        "One gradient step over `x`, `y` and `w`: `scale` times what it moves `params` by is taken from "
        "`to`, which may be `params`.",
        "void acc_step(const float *numbers, const float *params, const float *x, const float *y, "
        "const float *w,\n              const float *rates, float *to, float scale, float *arena)",
        step_program(
            simplified(graph),
            inputs,
            {name: Buffer(f"to + {place}", laid[name].size) for name, place in moves.items()},
            HANDLERS,
        ),
    )
    return [predict, step], {
        "GRADIENT": 1,
        "AT_MOVING": first,
        "MOVING": size,
        "OUT": predict.place("outputs"),
        "STEPS": adaptation.steps,
        "RATES": rates,
        "RATE_STEPS": adaptation.steps if adaptation.rates else 1,
        "BATCH": adaptation.batch,
        "PART": part,
        "SHOTS": adaptation.shots,
        "HELD": OnlinePolicy().held_back,
        "SHELVES": manifest.output.width if classes else 1,
    }


def _input(bundle: Bundle) -> Buffer:
    return Buffer("x", math.prod(bundle.manifest.input.shape))


def _params(
    laid: Mapping[str, Float], places: Mapping[str, int], moves: Mapping[str, int]
) -> dict[str, Buffer]:
    """Where each parameter lies: those that steps move in `params`, the others in the blob."""
    return {
        name: Buffer(f"params + {moves[name]}" if name in moves else f"numbers + {places[name]}", each.size)
        for name, each in laid.items()
        if name.startswith("param.")
    }
