"""From recorded inputs to what the graphs take: the one implementation, for training and for devices.

In this order: what an instrument writes for a missing value becomes a gap; a gap takes the channel's last
value in the window, at its start the next one; counters become their rise since the window's first row, large
numbers their distance from a reference, in float64; what lies far outside of what training saw is held at the
edge or refused; and each channel is normalized, one that never moved in training to zero. Every step looks at
one window alone, so that a device that sees only windows does the same as training, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate_device.protocol.manifest import Preprocessing

Float = NDArray[np.float32]


class Preparation:
    """The steps for one model.

    Args:
        channels: names, in order.
        axes: of one input: 1 for single rows, 2 for windows, 3 for images.
        mean, scale: by channel; empty: none.
        steps: what else is done.
    """

    def __init__(
        self,
        channels: Sequence[str],
        axes: int,
        mean: Sequence[float],
        scale: Sequence[float],
        steps: Preprocessing,
    ) -> None:
        def column(values: Any, dtype: Any) -> NDArray[Any]:
            return np.asarray(values, dtype).reshape(-1, *([1] * (axes - 1)))

        count = len(channels) if axes < 3 else max(1, len(mean))
        still = np.isin(np.asarray(channels), steps.still)
        inverse = (1.0 / np.asarray(scale or [1.0] * count)).astype(np.float32)
        if axes < 3 and still.any():
            inverse[still] = 0.0
        self._mean, self._inverse = column(mean or [0.0] * count, np.float32), column(inverse, np.float32)
        self.hold = steps.missing in ("hold", "season") and axes == 2
        self._relative = np.flatnonzero(np.isin(np.asarray(channels), steps.relative) & (axes == 2))
        self._offset = column(steps.offset, np.float64) if steps.offset else None
        self._absent = spellings(steps.absent)
        self._low = column(steps.low, np.float32) if steps.low else None
        self._high = column(steps.high, np.float32) if steps.high else None

    @property
    def inverse(self) -> Float:
        """What each channel is multiplied with, for arrays of the input's axes."""
        return self._inverse

    @property
    def exact(self) -> bool:
        """Whether inputs are needed as float64, because float32 would lose steps."""
        return len(self._relative) > 0 or self._offset is not None

    def known(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Inputs in which what stands for a missing value is NaN."""
        if not len(self._absent):
            return raw
        return np.where(np.isin(raw, self._absent.astype(raw.dtype)), np.asarray(np.nan, raw.dtype), raw)

    def repair(self, raw: NDArray[Any]) -> Float:
        """Inputs (..., channels, *rest) with gaps held and numbers made small; NaN where nothing holds."""
        if self.hold and np.isnan(np.add.reduce(raw, axis=None)):
            raw = held(raw)
        if self._offset is not None:
            raw = raw - self._offset
        if len(self._relative):
            raw = raw.copy() if self._offset is None else raw
            rising = raw[..., self._relative, :]
            raw[..., self._relative, :] = rising - rising[..., :1]
        result: Float = raw.astype(np.float32, copy=False)
        return result

    def beyond(self, repaired: Float) -> NDArray[np.bool_] | None:
        """Which values lie outside the bounds; None where none does, or there are none."""
        if self._low is None or self._high is None:
            return None
        outside: NDArray[np.bool_] = (repaired < self._low) | (repaired > self._high)
        return outside if outside.any() else None

    def clamp(self, repaired: Float) -> Float:
        """Inputs with every value inside the bounds."""
        if self._low is None or self._high is None:
            return repaired
        result: Float = np.clip(repaired, self._low, self._high)
        return result

    def normalize(self, repaired: Float) -> Float:
        """Inputs (..., channels, *rest) in normalized units."""
        result: Float = (repaired - self._mean) * self._inverse
        return result


def spellings(absent: Sequence[float]) -> NDArray[np.float64]:
    """What stands for a missing value, as written and as float32 keeps it: 9999.9 is 9999.900390625 there."""
    exact = np.asarray(absent, np.float64)
    return np.concatenate([exact, exact.astype(np.float32).astype(np.float64)])


def held(raw: NDArray[Any]) -> NDArray[Any]:
    """Windows (..., time) in which each NaN takes the last value before it, at the start the next one."""
    present = ~np.isnan(raw)
    steps = np.arange(raw.shape[-1])
    before = np.maximum.accumulate(np.where(present, steps, -1), axis=-1)
    after = np.minimum.accumulate(np.where(present, steps, len(steps))[..., ::-1], axis=-1)[..., ::-1]
    source = np.where(before >= 0, before, np.minimum(after, len(steps) - 1))
    return np.take_along_axis(raw, source, axis=-1)
