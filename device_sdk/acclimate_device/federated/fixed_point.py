"""Numbers as integers, so that sums over devices are exact in whatever order they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Integers = NDArray[np.int32]


@dataclass(frozen=True)
class FixedPoint:
    """Multiples of 2^-bits in 32 bits.

    Attributes:
        bits: after the point.
    """

    bits: int

    def rounded(self, values: Vector) -> Integers:
        """The nearest multiples.

        Raises:
            ValueError: a value is not finite or needs more than 32 bits.
        """
        scaled = np.rint(np.asarray(values, np.float64) * 2.0**self.bits)
        if not bool(np.all(np.abs(scaled) < 2.0**31)):  # false of NaN too
            raise ValueError(f"values beyond 32 bits at {self.bits} bits after the point, or not finite")
        return scaled.astype(np.int32)

    def restored(self, integers: NDArray[np.integer]) -> Vector:
        """As numbers again, exactly."""
        return integers.astype(np.float64) * 2.0**-self.bits
