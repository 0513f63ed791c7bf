"""From an application's examples to what the graphs take, and back. Refuses what cannot be learnt from."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate_device.errors import BeyondError, InputError, LabelError
from acclimate_device.online.given import by_name, numbers, shown
from acclimate_device.preprocessing import Preparation
from acclimate_device.protocol import Manifest, canonical_json, write

Float = NDArray[np.float32]
Target = int | float | Float
_FEATURES = 16
_STILL = 1e-3
"""Spread, in units of training, below which a channel stands still."""
_LARGEST = 1e15  # beyond it, float32 arithmetic on squares overflows


class Schema:
    """One bundle's input and output."""

    def __init__(self, manifest: Manifest, allow_constant: bool = False) -> None:
        self._input, self.output = manifest.input, manifest.output
        self.loss_name = manifest.adaptation.loss
        self.classification = self.output.kind == "classification"
        self.anomaly = self.output.kind == "anomaly"
        self.shape = self._input.shape
        self.layout = self.shape, self._input.channels
        self._clamped = 0
        self._allow_constant = allow_constant or len(self.shape) < 2 or self.output.kind == "forecasting"
        self._rows = (self.shape[0], math.prod(self.shape[1:]))
        self._preparation = Preparation(
            self._input.channels,
            len(self.shape),
            self._input.mean or [0.0] * self.shape[0],
            self._input.scale or [1.0] * self.shape[0],
            self._input.preprocessing,
        )
        self._dtype = np.float64 if self._preparation.exact else np.float32
        self._last: NDArray[Any] | None = None  # of single rows, what a gap takes
        width = self.output.width
        self._target_mean = _of_outputs(self.output.mean or (0.0,), width)
        self._target_scale = _of_outputs(self.output.scale or (1.0,), width)
        self._index = {label: index for index, label in enumerate(self.output.labels)}
        self._group, self._average = _feature_weights(self.shape)

    def input(self, x: Any) -> Float:
        """One example in the recorded units, as float32 of the bundle's shape.

        Args:
            x: an array or nested sequence, or anything whose channels have names (see `given.by_name`).

        Raises:
            InputError: wrong shape or type, NaN or infinity that is not to be held, no channel varies over
                time, or it lies far outside of what training saw and the bundle refuses that.
        """
        raw = self._preparation.repair(self._carried(self._preparation.known(self._array(x))))
        rows = raw.reshape(self._rows)
        # ufuncs' reduce: half the time of the methods, and this is on the path of every prediction
        highest, lowest = np.maximum.reduce(rows, axis=1), np.minimum.reduce(rows, axis=1)
        if not (np.maximum.reduce(highest) < _LARGEST and np.minimum.reduce(lowest) > -_LARGEST):  # or NaN
            first = tuple(np.argwhere(~(np.abs(raw) < _LARGEST))[0].tolist())
            raise InputError(f"the input holds {raw[first]} at {first}: repair or skip the example")
        if not self._allow_constant and highest.tolist() == lowest.tolist():
            raise InputError("no channel of the input varies: the sensor stands still or is disconnected")
        return self._inside(raw)

    def _inside(self, raw: Float) -> Float:
        """An input inside the bounds of what training saw; those that were not are counted."""
        outside = self._preparation.beyond(raw)
        if outside is None:
            return raw
        if self._input.preprocessing.beyond == "refuse":
            channel = self._input.channels[int(np.argwhere(outside)[0][0])]
            value = float(raw[outside][0])
            raise BeyondError(
                f"channel {channel!r} holds {value:g}, far outside of what training saw: check the sensor "
                "and its unit, or train with recordings of this kind"
            )
        self._clamped += 1
        return self._preparation.clamp(raw)

    def take_clamped(self) -> int:
        """Inputs that were held at the edge of what training saw, since this was last asked."""
        clamped, self._clamped = self._clamped, 0
        return clamped

    def _carried(self, raw: NDArray[Any]) -> NDArray[Any]:
        """A single row in which a gap takes the value of the row before, where gaps are held."""
        if len(self.shape) != 1 or self._input.preprocessing.missing not in ("hold", "season"):
            return raw
        if self._last is not None:
            raw = np.where(np.isnan(raw), self._last, raw)
        self._last = raw
        return raw

    def target(self, y: Any) -> Target:
        """A label's class, or real targets as float32 (width,) in the recorded units.

        Raises:
            LabelError: not a label of the bundle, or not finite numbers, one for each target.
        """
        if self.anomaly:
            if y is not None:
                raise LabelError(
                    f"label {shown(y)} came, but anomalies have none: learn_one(x) takes normal ones"
                )
            return 0
        if self.classification:
            try:
                return self._index[y if isinstance(y, str) else str(y)]
            except Exception:  # unknown, or nothing that can be a label
                known = ", ".join(self.output.labels[:12])
                raise LabelError(
                    f"label {shown(y)} is not one the bundle knows: use one of {known}"
                ) from None
        try:
            target = numbers(y, np.float32).reshape(-1)
        except ValueError:
            raise LabelError(f"target {shown(y)} is not {self.output.width} numbers") from None
        if target.shape != (self.output.width,) or not np.isfinite(target).all():
            raise LabelError(f"target {shown(y)} is not {self.output.width} finite numbers")
        return target

    def normalize(self, raw: Float) -> Float:
        """Inputs (..., *shape) in normalized units."""
        return self._preparation.normalize(raw)

    def normalize_targets(self, targets: Sequence[Target]) -> NDArray[np.generic]:
        """Targets as the graphs take them: (n,) int64 or (n, width) float32."""
        if self.classification:
            return np.asarray(targets, np.int64)
        return ((np.asarray(targets, np.float32) - self._target_mean) / self._target_scale).astype(np.float32)

    def prediction(self, outputs: Float) -> Any:
        """What an application gets for outputs (width,): a label, whether it is an anomaly, a float, an
        array of targets, or, of a forecast of several steps, (horizon,) of one target or (horizon, targets).
        """
        if self.classification:
            return self.output.labels[outputs.argmax()]
        if self.anomaly:
            return bool(outputs[0] > 0.0)
        values = outputs * self._target_scale + self._target_mean
        if len(values) == 1:
            return float(values[0])
        steps = len(self.output.steps)
        return values.reshape(steps, -1) if 1 < steps < len(values) else values

    def probabilities(self, outputs: Float) -> dict[str, float]:
        """Softmax of outputs (width,) by label."""
        weights = np.exp(outputs - outputs.max())
        return dict(zip(self.output.labels, (weights / weights.sum()).tolist(), strict=True))

    def losses(self, outputs: Float, targets: NDArray[np.generic]) -> Float:
        """The manifest's loss of each example: outputs (n, width), normalized targets; (n,)."""
        result: Float
        if self.loss_name == "cross_entropy":
            top = outputs.max(axis=1)
            log_sum = np.log(np.exp(outputs - top[:, None]).sum(axis=1)) + top
            result = log_sum - outputs[np.arange(len(outputs)), targets]
            return result
        gap: Float = np.abs(np.subtract(outputs, targets, dtype=np.float32))
        if self.loss_name == "mse":
            gap = gap * gap
        elif self.loss_name == "huber":
            gap = np.where(gap < 1.0, 0.5 * gap * gap, gap - 0.5)
        result = gap.mean(axis=1)
        return result

    def bounded(self, loss: float) -> float:
        """A loss in 0 to 1 for the detectors: of cross-entropy the probability that was missing."""
        return 1.0 - math.exp(-loss) if self.classification else loss / (1.0 + loss)

    @functools.cached_property
    def measure(self) -> str:
        """What `features` are measured by: equal for versions whose features may be compared."""
        entry = self._input
        return hashlib.sha256(canonical_json([entry.channels, self.shape, write(entry)])).hexdigest()

    def features(self, normalized: Float) -> list[float]:
        """For the input-shift detector, by at most 16 groups of channels: mean, log of spread over time."""
        flat = normalized.reshape(self._rows)
        mean = self._group @ (flat @ self._average)
        if flat.shape[1] == 1:
            return list(map(float, mean))
        spread = self._group @ np.log(flat.std(axis=1) + _STILL)
        return [*mean.tolist(), *spread.tolist()]

    def _array(self, x: Any) -> NDArray[Any]:
        values = by_name(x, self._input.channels)
        try:
            raw = numbers(values, self._dtype)
        except ValueError as error:
            raise InputError(f"the input is not numbers but {error}") from None
        if raw.shape != self.shape:
            raise InputError(f"the input has shape {raw.shape}, the bundle takes {self.shape}")
        return raw


def _of_outputs(values: Sequence[float], width: int) -> Float:
    """One value an output: of one a target, the same at every step of a forecast."""
    return np.tile(np.asarray(values, np.float32), width // len(values))


def _feature_weights(shape: tuple[int, ...]) -> tuple[Float, Float]:
    """Matrices that average neighbouring channels into at most 16 features, and each channel over time."""
    channels, samples = shape[0], math.prod(shape[1:])
    count = min(channels, _FEATURES)
    group = np.zeros((count, channels), np.float32)
    for channel in range(channels):
        group[channel * count // channels, channel] = 1.0
    return group / group.sum(axis=1, keepdims=True), np.full(samples, 1.0 / samples, np.float32)
