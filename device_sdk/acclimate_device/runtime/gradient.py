"""Runs the two graphs of a bundle that adapts by gradient steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from acclimate_device.bundle import Bundle
from acclimate_device.errors import BundleError
from acclimate_device.protocol import ADAPT, PARAMS, PREDICT, SANITY, Adaptation, Manifest
from acclimate_device.runtime.engine import Float, Params
from acclimate_device.runtime.session import check_sanity, open_session
from acclimate_device.runtime.tensors import parse


@dataclass(frozen=True)
class Batch:
    """Exactly `adaptation.batch` examples, padded with weight 0.

    Attributes:
        x: (batch, *shape) normalized inputs.
        y: (batch,) int64 classes or (batch, width) float32 normalized targets.
        w: (batch,) weights.
    """

    x: Float
    y: NDArray[np.generic]
    w: Float


class GradientEngine:
    """One bundle, ready to run.

    Args:
        bundle: whose hashes hold.
        like: an engine whose sessions are used again if its graphs are the same bytes.

    Raises:
        BundleError: a graph does not load, takes or gives other tensors than the protocol says, or does not
            compute what the sanity vector says.
    """

    def __init__(self, bundle: Bundle, like: GradientEngine | None = None) -> None:
        self.manifest: Manifest = bundle.manifest
        assert isinstance(self.manifest.adaptation, Adaptation)
        self.adaptation = self.manifest.adaptation
        tensors = parse(bundle.files[PARAMS])
        self.start: Params = {
            name: tensor.astype(np.float32) for name, tensor in tensors.items() if name.startswith("param.")
        }
        self._predict = self._session(bundle, PREDICT, like)
        self._adapt = self._session(bundle, ADAPT, like)
        self._predict_params = self._params_of(self._predict)
        self._adapt_inputs = {entry.name for entry in self._adapt.get_inputs()}
        self._next = [f"param.{name}" for name in self.adaptation.trainable]
        self._outputs = [f"next.{name}" for name in self.adaptation.trainable] + ["loss"]
        self._rates = self._rates_by_step(tensors)
        self._check_contract()
        self._check_sanity(parse(bundle.files[SANITY]))

    @property
    def moving(self) -> tuple[str, ...]:
        """The parameters that steps move."""
        return tuple(self._next)

    def outputs(self, params: Params, x: Float) -> Float:
        """Raw outputs (n, width) for normalized inputs (n, *shape)."""
        feed = {name: params[name] for name in self._predict_params}
        feed["x"] = x
        result: Float = self._predict.run(_OUTPUTS, feed)[0]
        return result

    def step(self, params: Params, batch: Batch, step: int) -> tuple[Params, float]:
        """One gradient step: new parameters, and the weighted mean loss before it.

        Args:
            step: which step of the adaptation this is, from 0: learned rates may differ by step.
        """
        feed: dict[str, NDArray[np.generic]] = {
            **params,
            **self._rates[min(step, len(self._rates) - 1)],
            "x": batch.x,
            "y": batch.y,
            "w": batch.w,
        }
        if len(feed) != len(self._adapt_inputs):  # the exporter drops inputs a graph does not need
            feed = {name: value for name, value in feed.items() if name in self._adapt_inputs}
        *moved, loss = self._adapt.run(self._outputs, feed)
        return {**params, **dict(zip(self._next, moved, strict=True))}, float(loss)

    def _session(self, bundle: Bundle, file: str, like: GradientEngine | None) -> InferenceSession:
        if like is not None and like.manifest.files[file] == self.manifest.files[file]:
            return like._predict if file == PREDICT else like._adapt
        return open_session(bundle, file)

    def _params_of(self, session: InferenceSession) -> list[str]:
        return [entry.name for entry in session.get_inputs() if entry.name.startswith("param.")]

    def _rates_by_step(self, tensors: Mapping[str, NDArray[np.generic]]) -> list[dict[str, Float]]:
        adaptation = self.adaptation
        steps: list[dict[str, Float]] = []
        for step in range(adaptation.steps if adaptation.rates else 1):
            feed: dict[str, Float] = {"lr": np.asarray(adaptation.inner_lr, np.float32)}
            for name in adaptation.rates:
                rates = tensors.get(f"rate.{name}")
                if rates is None:
                    raise BundleError(f"{PARAMS} has no rate.{name}: export the bundle again")
                feed[f"rate.{name}"] = rates[min(step, len(rates) - 1)].astype(np.float32)
            steps.append(feed)
        return steps

    def _check_contract(self) -> None:
        given = {*self.start, *self._rates[0], "x", "y", "w"}
        needed = {entry.name for entry in (*self._predict.get_inputs(), *self._adapt.get_inputs())}
        made = {entry.name for entry in self._adapt.get_outputs()}
        if needed - given:
            raise BundleError(f"the graphs need {sorted(needed - given)}, which the bundle does not hold")
        if set(self._outputs) - made:
            raise BundleError(f"{ADAPT} does not give {sorted(set(self._outputs) - made)}")
        if [entry.name for entry in self._predict.get_outputs()] != _OUTPUTS:
            raise BundleError(f"{PREDICT} must give one output named {_OUTPUTS[0]}")

    def _check_sanity(self, sanity: Mapping[str, NDArray[np.generic]]) -> None:
        try:
            batch = Batch(sanity["x"].astype(np.float32), sanity["y"], sanity["w"].astype(np.float32))
            outputs, params, losses = self.outputs(self.start, batch.x), self.start, []
            for step in range(len(sanity["losses"])):
                params, loss = self.step(params, batch, step)
                losses.append(loss)
            expected = np.concatenate([sanity["outputs"].ravel(), sanity["losses"].ravel()])
            off = float(np.abs(np.concatenate([outputs.ravel(), losses]) - expected).max())
        except Exception as error:  # as above; a graph that cannot run the vector is refused like a wrong one
            raise BundleError(f"the bundle cannot run its sanity vector ({error})") from None
        check_sanity(off, self.manifest.sanity_tolerance)


_OUTPUTS = ["outputs"]
