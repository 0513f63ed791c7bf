"""The remedy for shifted inputs that needs no label: undo what the sensor did to each channel.

The device remembers the mean and the spread of every channel from before the shift. After one it takes them
anew, over a bounded number of inputs, and maps the new ones onto the old ones: adaptive batch normalization
(Li et al. 2016) at the input, against the device's own past rather than the fleet's average. Few inputs say
little, so the map is shrunk towards none at all, which is the manifest's normalization. Sums are kept, never
inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from acclimate_device.errors import AlignmentError
from acclimate_device.online.schema import Float

_PRIOR = 4.0
"""The map counts as if this many inputs had shown no shift."""
_FIRST = 16
"""Inputs from which on a map is made; it is made anew at every doubling."""
_LARGEST_GAIN = 2000.0
"""A sensor that reports mg instead of g has 1000; beyond, a channel stands still or is broken."""


@dataclass(frozen=True)
class Moments:
    """Of some inputs, by channel: mean and standard deviation over all their samples.

    Attributes:
        inputs: how many.
        mean, spread: (channels,), in the recorded units.
    """

    inputs: int
    mean: tuple[float, ...]
    spread: tuple[float, ...]


@dataclass(frozen=True)
class Alignment:
    """Recorded inputs as they were before the shift: `gain * x + offset`, by channel.

    Attributes:
        gain, offset: (channels,).
        judged: whether labelled examples found that it pays.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    judged: bool = False

    def apply(self, raw: Float) -> Float:
        """Of inputs (..., channels, *rest) with as many axes as `raw` has; `raw` is one input."""
        column = (-1, *([1] * (raw.ndim - 1)))
        gain = np.asarray(self.gain, np.float32).reshape(column)
        aligned: Float = raw * gain + np.asarray(self.offset, np.float32).reshape(column)
        return aligned

    def confirmed(self) -> Alignment:
        return replace(self, judged=True)


def alignment(before: Moments, after: Moments, channels: Sequence[str]) -> Alignment:
    """The map from inputs like `after` to inputs like `before`, shrunk by how few there are of them.

    Raises:
        AlignmentError: a channel stands still in one of them and not in the other.
    """
    weight = after.inputs / (after.inputs + _PRIOR)
    gains, offsets = [], []
    for at, channel in enumerate(channels):
        old, new = before.spread[at], after.spread[at]
        gain = 1.0
        if _varies(old, before.mean[at]) or _varies(new, after.mean[at]):
            full = old / new if new > 0.0 else math.inf
            if not 1.0 / _LARGEST_GAIN <= full <= _LARGEST_GAIN:
                raise AlignmentError(
                    f"channel {channel!r} varied by {old:.3g} before the shift and by {new:.3g} over the "
                    f"{after.inputs} inputs since: check the sensor, inputs are left as they are"
                )
            gain = full**weight
        target = weight * before.mean[at] + (1.0 - weight) * after.mean[at]
        gains.append(gain)
        offsets.append(target - gain * after.mean[at])
    return Alignment(tuple(gains), tuple(offsets))


def _varies(spread: float, mean: float) -> bool:
    return spread > 1e-6 * abs(mean)


class Realigner:
    """Gathers moments: first those of inputs as they should be, after each shift those of the new ones.

    Args:
        channels: names.
        window: inputs that either are made of, at most.
        before: of inputs as they should be, where that is known already.
    """

    def __init__(self, channels: Sequence[str], window: int, before: Moments | None = None) -> None:
        if window < _FIRST:
            raise ValueError(f"realign_window is {window}: use at least {_FIRST}")
        self._channels, self._window, self.before = tuple(channels), window, before
        self._due = _FIRST
        self._gathering = before is None
        self._clear()

    def shifted(self) -> None:
        """From here on inputs are of the new kind; without old ones, they are what inputs should be."""
        self._due = _FIRST
        self._gathering = True
        self._clear()

    def settle(self) -> None:
        """Whether to align is decided: gather no more until the next shift."""
        if self.before is not None:
            self._gathering = False

    def update(self, raw: Float) -> None:
        """Take one checked input."""
        if not self._gathering or len(raw) != len(self._channels):  # of the version used a moment ago
            return
        rows = raw.reshape(len(self._channels), -1)
        self._inputs += 1
        self._samples += rows.shape[1]
        self._sum += rows.sum(axis=1, dtype=np.float64)
        self._squares += np.square(rows, dtype=np.float64).sum(axis=1)
        if self.before is None and self._inputs == self._window:
            self.before = self._moments()
            self._gathering = False

    def due(self) -> Alignment | None:
        """A new or better alignment, where enough inputs came for one.

        Raises:
            AlignmentError: the inputs since the shift allow none; gathering has ended.
        """
        if self.before is None or not self._gathering or self._inputs < self._due:
            return None
        after = self._moments()
        self._due = 2 * self._inputs
        self._gathering = self._due <= self._window
        try:
            return alignment(self.before, after, self._channels)
        except AlignmentError:
            self._gathering = False
            raise

    def _clear(self) -> None:
        self._inputs = self._samples = 0
        self._sum: NDArray[np.float64] = np.zeros(len(self._channels))
        self._squares: NDArray[np.float64] = np.zeros(len(self._channels))

    def _moments(self) -> Moments:
        mean = self._sum / self._samples
        variance = np.maximum(self._squares / self._samples - mean**2, 0.0)
        return Moments(self._inputs, tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))
