"""What firmware needs, predicted before any compiler runs: RAM by structs, flash, instructions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.mcu.graph import Call, Program
from acclimate.errors import BundleError
from acclimate_device.protocol import Manifest

_CODE_BYTES = 23_400
"""The runtime and newlib's maths, half of it in double for ADWIN, on a Cortex-M4 with -Os."""
_LIBRARY_BYTES = 1_080
"""Of RAM: what newlib's `errno` brings along; other libraries need less."""
_CALL_BYTES = 72
"""A call in `model.c` and the struct of its shape."""
_PER_MULTIPLY_ADD = 12
"""Instructions of a Cortex-M4F for one multiply-add of the kernels' loops, with their indices."""
_PER_TAP = 24
"""For one multiply-add of a convolution, whose inner loops are short."""
_PER_ELEMENT = 22
_PER_LABEL = 14_000
"""The detector, exponentials and sketches of one label."""


@dataclass(frozen=True)
class Footprint:
    """What a device with one network needs.

    Attributes:
        ram_bytes: of `acc_device`, everything between two calls and within them but the stack.
        stack_bytes: the most a call takes.
        blob_bytes: the signed weights.
        flash_bytes: code and one blob.
        instructions_per_label: of a Cortex-M4F.
        largest: what takes most of the RAM, and its bytes.
    """

    ram_bytes: int
    stack_bytes: int
    blob_bytes: int
    flash_bytes: int
    instructions_per_label: int
    largest: tuple[str, int]

    def check(self, limits: DeviceLimits, manifest: Manifest) -> None:
        """Refuse what a recipe's `device` section does not allow.

        Raises:
            BundleError: naming every limit that is exceeded, what takes most, and the remedy.
        """
        exceeded = [
            f"{name} {value:,} (at most {limit:,})"
            for name, value in (
                ("ram_bytes", self.ram_bytes + self.stack_bytes),
                ("flash_bytes", self.flash_bytes),
                ("instructions_per_label", self.instructions_per_label),
            )
            if (limit := getattr(limits, name)) is not None and value > limit
        ]
        if exceeded:
            what, size = self.largest
            raise BundleError(
                f"{manifest.release.name} does not fit the declared microcontroller: {'; '.join(exceeded)}; "
                f"{what} takes most of the RAM, {size:,} bytes: train a smaller model, or raise the limit"
            )


def footprint(manifest: Manifest, macros: Mapping[str, int], graph: Program) -> Footprint:
    """Predict, by the layout of `acclimate.h` on a 32-bit processor."""
    m = macros
    outputs, experts, shift = m["OUTPUTS"], m["EXPERTS"], m["SHIFT"]
    heads = 0
    if m["HEAD_LAST"]:
        heads += m["D"] * outputs + m["D"] * (m["D"] + 1) // 2
    if m["HEAD_MEANS"]:
        heads += outputs * m["R"] + outputs * (outputs + 1) // 2
    real = 8 if m["EXACT"] else 4
    parts = {
        "the heads' state": 4 * (heads + experts + 3),
        "the network's arena": 4 * m["ARENA"],
        "an example": 4 * m["INPUT"] + (real * m["INPUT"] + real if m["CARRY"] else 0),
        "outputs and scratch": 4 * (outputs + (1 + m["HEADS"]) * outputs + m["SCRATCH"]),
        "the detector of the inputs": 4 * shift * 24 + 16,
        "the detector of the losses": 12 * 6 * 16 + 40,
        "sketches": 2 * (16 + 404),
        "counts and settings": 14 * 4 + 60 + 40,
        "the C library": _LIBRARY_BYTES,
    }
    largest = max(parts.items(), key=lambda part: part[1])
    if largest[0] == "the network's arena" and graph.calls:
        call = max(graph.calls, key=lambda each: each.writes.buffer.size)
        largest = (f"the network's arena, with the result of {call.kernel.split()[-1]}", largest[1])
    blob = 160 + 4 * m["NUMBERS"] + 64
    elements = sum(
        call.writes.size for call in graph.calls if call.kernel.startswith(("acc_map", "acc_reduce"))
    )
    taps = sum(_taps(call) for call in graph.calls if call.kernel == "acc_convolve")
    solved = 2 * m["D"] * (m["D"] + 1) + 4 * m["D"] * outputs if m["HEAD_LAST"] else 0
    solved += 6 * outputs * m["R"] if m["HEAD_MEANS"] else 0
    return Footprint(
        ram_bytes=sum(parts.values()),
        stack_bytes=512 + 12 * shift + 4 * outputs,
        blob_bytes=blob,
        flash_bytes=_CODE_BYTES
        + _CALL_BYTES * len(graph.calls)
        + 4 * sum(c.size for c in graph.constants)
        + blob,
        instructions_per_label=_PER_LABEL
        + _PER_MULTIPLY_ADD * (graph.multiply_adds - taps + solved)
        + _PER_TAP * taps
        + _PER_ELEMENT * elements,
        largest=largest,
    )


def _taps(convolution: Call) -> int:
    """Multiply-adds of one convolution."""
    weight = convolution.reads[1]
    return convolution.writes.size * math.prod(weight.shape[1:])
