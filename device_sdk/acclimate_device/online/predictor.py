"""Predictions of one device: made without a lock, by the version and parameters in use as each begins."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from acclimate_device.errors import InputError, LabelError
from acclimate_device.online.learner import Active
from acclimate_device.online.lifecycle import UNUSABLE, Lifecycle
from acclimate_device.online.pending import Pending
from acclimate_device.online.schema import Float, Schema
from acclimate_device.runtime import ClosedFormEngine, NormalEngine

_TOGETHER = 256
"""Inputs of one run of the graph: memory stays bounded."""


class Predictor:
    """What `Device` predicts; each method is described there.

    Args:
        life: says what predicts, and is told of each prediction.
        pending: remembers inputs that wait for their labels.
    """

    def __init__(self, life: Lifecycle, pending: Pending) -> None:
        self._life, self._pending = life, pending

    def one(self, x: Any, key: Hashable | None = None) -> Any:
        active, outputs = self._outputs(x, key)
        return active.schema.prediction(outputs)

    def start(self, x: Any) -> Any:
        active = self._life.active.at_start()
        raw = self._checked(active.schema, x)
        outputs = active.outputs(active.schema.normalize(active.aligned(raw))[None])[0]
        if not math.isfinite(np.add.reduce(outputs)):
            raise InputError(UNUSABLE)
        return active.schema.prediction(outputs)

    def probabilities(self, x: Any) -> dict[str, float]:
        if not self._life.active.schema.classification:
            raise LabelError("the bundle does not classify: use predict_one")
        active, outputs = self._outputs(x, None)
        return active.schema.probabilities(outputs)

    def interval(self, x: Any, level: float) -> tuple[Any, Any]:
        if not 0.5 <= level <= 0.99:
            raise ValueError(f"level is {level}: use 0.5 to 0.99")
        active = self._life.active
        engine = active.running.engine
        if active.schema.classification or not isinstance(engine, ClosedFormEngine):
            raise LabelError("intervals come with numbers learnt in closed form: use predict_one")
        raw = self._checked(active.schema, x)
        ends = engine.interval(active.params, active.schema.normalize(active.aligned(raw))[None], level)
        return active.schema.prediction(ends.low[0]), active.schema.prediction(ends.high[0])

    def many(self, xs: Iterable[Any]) -> list[Any]:
        active = self._life.active
        raws = [self._checked(active.schema, x) for x in xs]
        if len(raws) == 1:  # what a batch is gathered for costs more than it saves
            return [self.one(raws[0])]
        predictions: list[Any] = []
        for first in range(0, len(raws), _TOGETHER):
            started, some = time.perf_counter_ns(), raws[first : first + _TOGETHER]
            outputs = active.outputs(active.schema.normalize(np.stack([active.aligned(raw) for raw in some])))
            if not math.isfinite(np.add.reduce(outputs, axis=None)):
                return predictions + [self.one(raw) for raw in raws[first:]]
            predictions += [active.schema.prediction(one) for one in outputs]
            for raw, one in zip(some, outputs, strict=True):
                self._life.predicted(active, raw, one)
            each_us = (time.perf_counter_ns() - started) / 1000.0 / len(some)
            for _ in some:
                self._life.recorder.predicted(each_us)
        return predictions

    def score(self, x: Any) -> float:
        active = self._life.active
        engine = active.running.engine
        if not isinstance(engine, NormalEngine):
            raise LabelError("the bundle does not tell anomalies: use predict_one")
        raw = self._checked(active.schema, x)
        outputs = active.outputs(active.schema.normalize(active.aligned(raw))[None])
        return float(outputs[0, 0]) + engine.prior.threshold

    def _outputs(self, x: Any, key: Hashable | None) -> tuple[Active, Float]:
        """What predicted and its outputs; the lock is taken only where the outputs are not finite."""
        started = time.perf_counter_ns()
        active = self._life.active
        raw = self._checked(active.schema, x)
        outputs: Float = active.outputs(active.schema.normalize(active.aligned(raw))[None])[0]
        if not math.isfinite(np.add.reduce(outputs)):
            active, outputs = self._life.leave(active, raw)
        if key is not None:
            self._pending.keep(key, raw)
        self._life.predicted(active, raw, outputs)
        self._life.recorder.predicted((time.perf_counter_ns() - started) / 1000.0)
        return active, outputs

    def _checked(self, schema: Schema, x: Any) -> Float:
        try:
            return schema.input(x)
        except InputError as error:
            self._life.recorder.refused(error)
            raise
