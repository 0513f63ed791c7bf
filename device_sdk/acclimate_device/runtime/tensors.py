"""The safetensors format, reading and writing, over numpy.

Eight bytes of header length, a JSON header of types, shapes and offsets, then the numbers, little-endian.
Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate_device.errors import BundleError

Tensors = dict[str, NDArray[np.generic]]

_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "I32": np.dtype("<i4"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}


def parse(data: bytes) -> Tensors:
    """Tensors by name, as read-only views into `data`.

    Raises:
        BundleError: not safetensors, a type other than F32, F64, I32 and I64, or offsets that do not fit.
    """
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        body = memoryview(data)[8 + length :]
        return {name: _tensor(entry, body) for name, entry in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"not a safetensors file ({error}): download the bundle again") from None


def _tensor(entry: Any, body: memoryview) -> NDArray[np.generic]:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end <= len(body):
        raise ValueError(f"offsets {start} to {end} of {len(body)} bytes")
    dtype: np.dtype[Any] = _TYPES[entry["dtype"]]
    return np.frombuffer(body[start:end], dtype).reshape(entry["shape"])


def serialize(tensors: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The file of `tensors`; equal tensors give equal bytes."""
    header, bodies, offset = {}, [], 0
    for name, tensor in sorted(tensors.items()):
        body = np.ascontiguousarray(tensor).tobytes()
        kind = _NAMES[tensor.dtype.newbyteorder("<")]
        header[name] = {
            "dtype": kind,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(body)],
        }
        bodies.append(body)
        offset += len(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(bodies)
