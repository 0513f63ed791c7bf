"""What is normal on this device, and how far a window is from it: features from a graph, the rest in numpy.

The outputs of a window are one number: its score less the threshold, so that what is above zero is an alarm.
See `acclimate_device.normality`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnxruntime import InferenceSession

from acclimate_device.bundle import Bundle
from acclimate_device.errors import BundleError
from acclimate_device.normality import Floats, Normality, Prior, State
from acclimate_device.protocol import FEATURES, PARAMS, SANITY, Manifest, NormalWindows
from acclimate_device.runtime.engine import Float, Params
from acclimate_device.runtime.session import check_sanity, open_session
from acclimate_device.runtime.tensors import parse

_STATE = ("state.count", "state.mean", "state.scatter")


class NormalEngine:
    """One bundle, ready to run.

    Args:
        bundle: whose hashes hold.
        like: an engine whose session is used again if its graph is the same bytes.

    Raises:
        BundleError: a graph does not load, tensors are missing, or it does not compute what the sanity vector
            says.
    """

    def __init__(self, bundle: Bundle, like: NormalEngine | None = None) -> None:
        self.manifest: Manifest = bundle.manifest
        assert isinstance(self.manifest.adaptation, NormalWindows)
        self._features: InferenceSession = (
            like._features if like is not None and self.reads_like(like) else open_session(bundle, FEATURES)
        )
        tensors = {name: tensor.astype(np.float32) for name, tensor in parse(bundle.files[PARAMS]).items()}
        self._inputs = {entry.name for entry in self._features.get_inputs()} - {"x"}
        try:
            self.prior = Prior.of({name.removeprefix("prior."): each for name, each in tensors.items()})
            size = len(self.prior.mean)
            self.start: Params = {
                **{name: tensors[name] for name in self._inputs},
                "state.count": np.zeros((), np.float32),
                "state.mean": np.zeros(size, np.float32),
                "state.scatter": np.zeros((size, size), np.float32),
            }
            self._known: tuple[Params, Normality] = (self.start, Normality(self.prior))
            self._check_sanity(parse(bundle.files[SANITY]))
        except (KeyError, ValueError, np.linalg.LinAlgError) as error:
            raise BundleError(f"{PARAMS} or {SANITY} cannot be used ({error}): export again") from None

    @property
    def moving(self) -> tuple[str, ...]:
        """What normal windows change: their number, mean and scatter."""
        return _STATE

    def reads_like(self, other: NormalEngine) -> bool:
        """Whether another version's graph of the features is the same bytes."""
        return self.manifest.files[FEATURES] == other.manifest.files[FEATURES]

    def outputs(self, params: Params, x: Float) -> Float:
        """Score less threshold, (n, 1), for normalized inputs (n, *shape)."""
        scores = self._model(params).scores(self._seen(params, x)) - self.prior.threshold
        result: Float = scores.astype(np.float32)[:, None]
        return result

    def learn(self, params: Params, x: Float) -> Params:
        """The parameters after one normal window (1, *shape), normalized."""
        model = self._model(params).learned(self._seen(params, x)[0])
        state = model.state
        moved = {
            "state.count": np.asarray(state.count, np.float32),
            "state.mean": state.mean.astype(np.float32),
            "state.scatter": state.scatter.astype(np.float32),
        }
        after: Params = {**params, **moved}
        self._known = (after, model)  # one reference: whoever reads it has both
        return after

    def carried(self, params: Params, before: NormalEngine) -> Params:
        """What was learnt under another version, where its features mean the same; else the start."""
        same = self.reads_like(before) and self.manifest.input == before.manifest.input
        same = same and all(np.array_equal(self.start[name], params[name]) for name in self._inputs)
        return {**self.start, **{name: params[name] for name in _STATE}} if same else self.start

    def _seen(self, params: Params, x: Float) -> Floats:
        feed = {name: params[name] for name in self._inputs}
        feed["x"] = x
        features: Floats = self._features.run(["z"], feed)[0].astype(np.float64)
        return features

    def _model(self, params: Params) -> Normality:
        known, model = self._known
        if known is params:
            return model
        count, mean, scatter = (params[name].astype(np.float64) for name in _STATE)
        model = Normality(self.prior, State(float(count), mean, scatter) if count > 0 else None)
        self._known = (params, model)
        return model

    def off(self, sanity: Mapping[str, Any]) -> float:
        """The largest error on the sanity vector, relative above 1.

        Args:
            sanity: windows `x` and `outputs`, the score of each before it is learned.
        """
        told, params = [], self.start
        for x in np.asarray(sanity["x"], np.float32):
            told.append(self.outputs(params, x[None])[0, 0] + self.prior.threshold)
            params = self.learn(params, x[None])
        expected = np.asarray(sanity["outputs"], np.float32)
        return float((np.abs(np.array(told) - expected) / np.maximum(expected, 1.0)).max())

    def _check_sanity(self, sanity: Mapping[str, Any]) -> None:
        try:
            off = self.off(sanity)
        except Exception as error:  # a graph that cannot run the vector is refused like a wrong one
            raise BundleError(f"the bundle cannot run its sanity vector ({error})") from None
        check_sanity(off, self.manifest.sanity_tolerance)
