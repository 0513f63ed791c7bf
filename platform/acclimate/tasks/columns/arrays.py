"""From Arrow columns to numpy: categories as codes, numbers as float64 with NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acclimate.errors import DataError
from acclimate.tasks.columns.spelled import switched, without_words
from acclimate.tasks.sources.types import first_failing, is_number

Codes = npt.NDArray[np.int64]
Where = Callable[[int], str]
"""The place of a row of a batch, for messages."""

_EXACT = 2.0**53
"""Up to which every whole number is a float64."""
LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Categories:
    """The distinct values of a column as text, each with a code in order of first appearance."""

    column: str
    names: list[str] = field(default_factory=list)
    _codes: dict[str, int] = field(default_factory=dict)

    def encode(self, values: Any) -> Codes:
        """The codes of an Arrow array, new ones for new values; -1 where the value is missing or NaN."""
        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        used, first = np.unique(indices, return_index=True)  # a category without a row is none
        codes = np.full(len(encoded.dictionary) + 1, -1, dtype=np.int64)
        for index in used[np.argsort(first)].tolist():
            if index >= 0:
                codes[index] = self._code(encoded.dictionary[index].as_py())
        return codes[indices]

    def _code(self, value: Any) -> int:
        if value is None or value != value:
            return -1
        name = named(value)
        if name not in self._codes:
            self._codes[name] = len(self.names)
            self.names.append(name)
        return self._codes[name]


def named(value: Any) -> str:
    """A whole number is called the same whether it is stored with a fraction or without."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def in_order(names: list[str]) -> list[str]:
    """Sorted, by value if all are numbers."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)


def read_numbers(
    column: str, values: Any, where: Where, absent: Sequence[str] = ()
) -> npt.NDArray[np.float64]:
    """A column of numbers, booleans, numbers as text or a switch's words; what is missing or infinite is NaN.

    Args:
        absent: words that stand for a missing value, besides the usual ones.

    Raises:
        DataError: it holds something else, or a number that no float32 can come near.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not (is_number(values.type) or pa.types.is_string(values.type) or pa.types.is_null(values.type)):
        raise DataError(f"column {column!r} holds {values.type}, not numbers: convert it, or leave it out")

    if pa.types.is_string(values.type):
        values = without_words(values, absent)
        as_switch = switched(values)
        values = values if as_switch is None else as_switch

    def convert(part: Any) -> Any:
        return pc.cast(part, pa.float64(), safe=pa.types.is_string(part.type))

    try:
        array = convert(values).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        index = first_failing(values, convert)
        raise DataError(
            f"{where(index)}: column {column!r} holds {values.type}, not numbers, for example "
            f"{values[index].as_py()!r}: convert it, or leave it out"
        ) from None
    numbers: npt.NDArray[np.float64] = np.asarray(array, dtype=np.float64)
    largest = np.abs(numbers).max(initial=0.0, where=~np.isnan(numbers))
    if pa.types.is_integer(values.type) and largest > _EXACT:
        _refuse_rounding(column, values, numbers, where)
    if np.isinf(numbers).any():
        numbers = np.where(np.isinf(numbers), np.nan, numbers)
    with np.errstate(invalid="ignore"):
        beyond = np.abs(numbers) > LARGEST
    if beyond.any():
        index = int(np.argmax(beyond))
        raise DataError(
            f"{where(index)}: column {column!r} holds {numbers[index]!r}, beyond what float32 holds: repair "
            "it, or leave it empty"
        )
    return numbers


def _refuse_rounding(column: str, values: Any, numbers: npt.NDArray[np.float64], where: Where) -> None:
    whole = values.fill_null(0).to_numpy(zero_copy_only=False)
    changed = np.flatnonzero(
        [int(one) != int(number) for one, number in zip(whole, np.nan_to_num(numbers), strict=True)]
    )
    if len(changed):
        index = int(changed[0])
        raise DataError(
            f"{where(index)}: column {column!r} holds {whole[index]}, a whole number that no float64 keeps: "
            "give its difference from a fixed value or from row to row, or leave the column out"
        )


def read_lists(column: str, values: Any, shape: tuple[int, ...], where: Where) -> npt.NDArray[Any]:
    """A fixed-size-list column as (rows, *shape), bytes as they are, other numbers as float64."""
    size = int(np.prod(shape))
    if not pa.types.is_fixed_size_list(values.type) or values.type.list_size != size:
        raise DataError(
            f"column {column!r} holds {values.type}; image_shape {shape} needs lists of {size} numbers"
        )
    if values.null_count:
        raise DataError(f"column {column!r} has {values.null_count} row(s) without an image: remove them")
    flat = values.flatten()
    bytes_ = pa.types.is_uint8(flat.type)
    numbers = flat.to_numpy() if bytes_ else read_numbers(column, flat, lambda index: where(index // size))
    return numbers.reshape(-1, *shape)
