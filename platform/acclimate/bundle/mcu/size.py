"""What firmware needs, predicted before any compiler runs: RAM by structs, flash, instructions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.mcu.functions import Function
from acclimate.bundle.mcu.graph import Call, Program
from acclimate.errors import BundleError
from acclimate_device.protocol import Manifest

_CODE_BYTES = 24_200
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
_MULTIPLY = ("acc_matmul", "acc_convolve", "acc_pool")
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
        instructions_per_label: of a Cortex-M4F, without the steps of an adaptation.
        instructions_per_step: of one gradient step over the whole batch; 0 of heads in closed form.
        largest: what takes most of the RAM, and its bytes.
    """

    ram_bytes: int
    stack_bytes: int
    blob_bytes: int
    flash_bytes: int
    instructions_per_label: int
    instructions_per_step: int
    largest: tuple[str, int]

    def fits_ram(self, limits: DeviceLimits) -> bool:
        return limits.ram_bytes is None or self.ram_bytes + self.stack_bytes <= limits.ram_bytes

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
                ("instructions_per_step", self.instructions_per_step),
            )
            if (limit := getattr(limits, name)) is not None and value > limit
        ]
        if exceeded:
            what, size = self.largest
            raise BundleError(
                f"{manifest.release.name} does not fit the declared microcontroller: {'; '.join(exceeded)}; "
                f"{what} takes most of the RAM, {size:,} bytes: train a smaller model"
                + (", adapt fewer parameters or shots" if self.instructions_per_step else "")
                + ", or raise the limit"
            )


def footprint(manifest: Manifest, macros: Mapping[str, int], functions: Sequence[Function]) -> Footprint:
    """Predict, by the layout of `acclimate.h` on a 32-bit processor.

    Args:
        functions: what a prediction runs, and where there is a second one, a gradient step or a part of it.
    """
    m = macros
    outputs, shift = m["OUTPUTS"], m["SHIFT"]
    real = 8 if m["EXACT"] else 4
    parts = (_of_steps(m, real) if m["GRADIENT"] else _of_heads(m)) | {
        "the network's arena": 4 * m["ARENA"],
        "an example": 4 * m["INPUT"] + (real * m["INPUT"] + real if m["CARRY"] else 0),
        "outputs and scratch": 4 * (outputs + m["SCRATCH"]),
        "the detector of the inputs": 4 * shift * 24 + 16,
        "the detector of the losses": 12 * 6 * 16 + 40,
        "sketches": 2 * (16 + 404),
        "counts and settings": 14 * 4 + 60 + 40,
        "the C library": _LIBRARY_BYTES,
    }
    largest = max(parts.items(), key=lambda part: part[1])
    calls = [call for function in functions for call in function.program.calls]
    if largest[0] == "the network's arena" and calls:
        call = max(calls, key=lambda each: each.writes.buffer.size)
        largest = (f"the network's arena, with the result of {call.kernel.split()[-1]}", largest[1])
    blob = 160 + 4 * m["NUMBERS"] + 64
    solved = 2 * m["D"] * (m["D"] + 1) + 4 * m["D"] * outputs if m.get("HEAD_LAST") else 0
    solved += 6 * outputs * m["R"] if m.get("HEAD_MEANS") else 0
    predict, steps = functions[0].program, [each.program for each in functions[1:]]
    passes = -(-m["BATCH"] // m["PART"]) if m["GRADIENT"] else 0
    constants = {
        buffer.constant.tobytes() for each in functions for buffer in each.program.constants
        if buffer.constant is not None
    }  # fmt: skip
    return Footprint(
        ram_bytes=sum(parts.values()),
        stack_bytes=512 + 12 * shift + 4 * outputs,
        blob_bytes=blob,
        flash_bytes=_CODE_BYTES + _CALL_BYTES * len(calls) + sum(map(len, constants)) + blob,
        instructions_per_label=_PER_LABEL + _PER_MULTIPLY_ADD * solved + _instructions(predict),
        instructions_per_step=passes * sum(map(_instructions, steps)),
        largest=largest,
    )


def _of_heads(m: Mapping[str, int]) -> dict[str, int]:
    outputs, heads = m["OUTPUTS"], 0
    if m["HEAD_LAST"]:
        heads += m["D"] * outputs + m["D"] * (m["D"] + 1) // 2
    if m["HEAD_MEANS"]:
        heads += outputs * m["R"] + outputs * (outputs + 1) // 2
    return {
        "the heads' state": 4 * (heads + m["EXPERTS"] + 3),
        "the experts' answers": 4 * (1 + m["HEADS"]) * outputs,
    }


def _of_steps(m: Mapping[str, int], real: int) -> dict[str, int]:
    values = 0 if m["CLASSES"] else 4 * m["OUTPUTS"]
    example = 4 + values + real * m["INPUT"] + (4 if real == 8 and not values % 8 else 0)
    kept = m["SHOTS"] + m["HELD"]
    shelf = -(-(4 + 2 * (2 + kept) + 1) // real) * real + kept * example
    label = 1 if m["CLASSES"] else m["OUTPUTS"]
    sets = 2 + (m["PART"] < m["BATCH"])
    return {
        "the support" + (f", {kept} examples of each class," if m["CLASSES"] else f", {kept} examples,"): (
            m["SHELVES"] * (shelf + 2) + 24
        ),
        f"what steps move, {sets} times,": 4 * (sets * m["MOVING"] + 2),
        f"a batch of {m['PART']}": 4 * m["PART"] * (m["INPUT"] + label + 1),
    }


def _instructions(program: Program) -> int:
    elements = sum(call.writes.size for call in program.calls if not call.kernel.startswith(_MULTIPLY))
    taps = sum(_taps(call) for call in program.calls if call.kernel.startswith("acc_convolve"))
    return _PER_MULTIPLY_ADD * (program.multiply_adds - taps) + _PER_TAP * taps + _PER_ELEMENT * elements


def _taps(convolution: Call) -> int:
    """Multiply-adds of one convolution."""
    weight, back = convolution.reads[1], convolution.kernel == "acc_convolve_back"
    inner = weight.shape[0] if back else weight.shape[1]
    return convolution.writes.size * inner * math.prod(weight.shape[2:])
