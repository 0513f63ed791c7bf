"""From Arrow columns to numpy: categories as codes, numbers as float32 with NaN, times as seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError

Codes = npt.NDArray[np.int64]


@dataclass
class Categories:
    """The distinct values of a column as text, each with a code in order of first appearance."""

    column: str
    names: list[str] = field(default_factory=list)
    _codes: dict[str, int] = field(default_factory=dict)

    def encode(self, values: Any) -> Codes:
        """The codes of an Arrow array, new ones for new values; -1 where the value is missing."""
        encoded = values.dictionary_encode()
        codes = np.array([self._code(name) for name in encoded.dictionary.to_pylist()] + [-1], dtype=np.int64)
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return codes[indices]

    def _code(self, value: Any) -> int:
        if value is None:
            return -1
        name = str(value)
        if name not in self._codes:
            self._codes[name] = len(self.names)
            self.names.append(name)
        return self._codes[name]


def in_order(names: list[str]) -> list[str]:
    """Sorted, by value if all are numbers."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)


def read_numbers(column: str, values: Any) -> npt.NDArray[np.float32]:
    """A numeric or boolean column; missing and infinite values become NaN."""
    try:
        array = pc.cast(values, pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise DataError(
            f"column {column!r} holds {values.type}, not numbers: convert it, or leave it out"
        ) from error
    numbers = np.asarray(array, dtype=np.float32)
    if np.isinf(numbers).any():
        numbers = np.where(np.isinf(numbers), np.float32(np.nan), numbers)
    return numbers


def read_lists(column: str, values: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A fixed-size-list column as (rows, *shape), bytes as they are, other numbers as float32."""
    size = int(np.prod(shape))
    if not pa.types.is_fixed_size_list(values.type) or values.type.list_size != size:
        raise DataError(
            f"column {column!r} holds {values.type}; image_shape {shape} needs lists of {size} numbers"
        )
    if values.null_count:
        raise DataError(f"column {column!r} has {values.null_count} row(s) without an image: remove them")
    flat = values.flatten()
    numbers = flat.to_numpy() if pa.types.is_uint8(flat.type) else read_numbers(column, flat)
    return numbers.reshape(-1, *shape)


def read_times(column: str, values: Any) -> npt.NDArray[np.float64]:
    """A time column: seconds since 1970 for timestamps and dates, the number itself otherwise."""
    if values.null_count:
        raise DataError(f"time column {column!r} has {values.null_count} row(s) without a time: remove them")
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return pc.cast(values, pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy() / 1e6
    try:
        return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    except pa.ArrowException as error:
        raise DataError(f"time column {column!r} holds {values.type}: use timestamps or numbers") from error
