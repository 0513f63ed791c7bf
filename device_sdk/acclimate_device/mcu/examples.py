"""Examples as they travel on the line: the bytes of `acc_example` in `acclimate.h`."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from acclimate_device.errors import LabelError
from acclimate_device.protocol import Manifest


def exact(manifest: Manifest) -> bool:
    """Whether a firmware takes inputs in double precision: what is taken off them needs that."""
    input_, steps = manifest.input, manifest.input.preprocessing
    relative = len(input_.shape) == 2 and bool(set(steps.relative) & set(input_.channels))
    return bool(steps.offset) or relative


def packed(manifest: Manifest, x: Any) -> bytes:
    """An input to predict from, as recorded."""
    return np.ascontiguousarray(x, "<f8" if exact(manifest) else "<f4").tobytes()


def packed_labelled(manifest: Manifest, x: Any, y: Any) -> bytes:
    """An input with its label, or its values, in the recorded units.

    Raises:
        LabelError: it is no label of the bundle.
    """
    output = manifest.output
    if output.kind == "classification":
        if y not in output.labels:
            raise LabelError(f"{y!r} is no label of {', '.join(output.labels)}")
        target = struct.pack("<i", output.labels.index(y))
    else:
        target = np.broadcast_to(np.asarray(y, "<f4").reshape(-1), (output.width,)).tobytes()
    room = 8 if exact(manifest) else 4
    return target + bytes(-len(target) % room) + packed(manifest, x)
