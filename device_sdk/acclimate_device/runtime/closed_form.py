"""Heads in closed form on a device: each label is learnt at once, and the start stays beside them.

The experts are the start, which never moves, and against it the Bayesian last layer and the class means, or
those of the two that the bundle has. A label is predicted first, then scores the experts, then moves the
heads in O(d^2): no learning rate, no old examples. What the tensors mean is said in
`acclimate_device.protocol`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from acclimate_device.bundle import Bundle
from acclimate_device.errors import BundleError
from acclimate_device.protocol import FEATURES, LEARN, PARAMS, SANITY, ClosedForm, Manifest
from acclimate_device.runtime import experts, unlabelled
from acclimate_device.runtime.answers import READS, Answers, Double
from acclimate_device.runtime.engine import Float, Params
from acclimate_device.runtime.session import Graph, check_sanity, open_session, row_error
from acclimate_device.runtime.tensors import parse

# Log of what the start weighs before any label: adaptation pays unless labels say otherwise. A class's first
# label always finds the heads worse than they are once they have it, so classes take more to be convinced.
_START_OF_CLASSES, _START_OF_NUMBERS = -7.0, -3.0
_SILENT = 1e-4  # a share of the start that no prediction needs to hear
_SPREAD_RATE = np.float32(0.02)  # fifty labels decide how wide a device's errors are beside the fleet's
_WINDOWS = ("state.windows.number", "state.windows.total")  # what windows without labels told


class Interval(NamedTuple):
    """Ends of a predictive interval, (n, width) each, in normalized units."""

    low: Float
    high: Float


class Seen(NamedTuple):
    """Inputs before their labels: what the heads read, what every expert says, and what is said of that."""

    features: dict[str, Float]
    answers: Double
    outputs: Float


class ClosedFormEngine:
    """One bundle, ready to run.

    Args:
        bundle: whose hashes hold.
        like: an engine whose sessions are used again if its graphs are the same bytes.

    Raises:
        BundleError: a graph does not load, tensors are missing, or it does not compute what the sanity vector
            says.
    """

    def __init__(self, bundle: Bundle, like: ClosedFormEngine | None = None) -> None:
        self.manifest: Manifest = bundle.manifest
        adaptation = self.manifest.adaptation
        assert isinstance(adaptation, ClosedForm)
        self.heads = adaptation.heads
        self._classes = self.manifest.output.kind == "classification"
        tensors = {name: tensor.astype(np.float32) for name, tensor in parse(bundle.files[PARAMS]).items()}
        self._body = body = {name: tensor for name, tensor in tensors.items() if name.startswith("param.")}
        self._named = [READS[head] for head in self.heads]
        self._features = Graph(self._session(bundle, FEATURES, like), body, ["x"], self._named)
        self._states = [f"{head}.{part}" for head in self.heads for part in ("mean", "cov")]
        try:
            self._first = {name: tensors[f"start.{name}"] for name in self._states}
            self._prior = {
                name.removeprefix("prior."): tensor
                for name, tensor in tensors.items()
                if name.startswith("prior.")
            }
            self._learn = self._learning(self._session(bundle, LEARN, like), adaptation.forgetting)
            self._experts = Answers(self.heads, self._first, self._prior, self._classes)
            start = _START_OF_CLASSES if self._classes else _START_OF_NUMBERS
            self._trust = np.array([start, *(0.0 for _ in self.heads)], np.float32)
            self.start: Params = {
                **body,
                **{f"state.{name}": tensor for name, tensor in self._first.items()},
                "state.trust": np.zeros(len(self._trust), np.float32),
                "state.spread": np.ones((), np.float32),
            }
            if "means" in self.heads:
                mean = self._first["means.mean"]
                none = np.zeros(len(mean), np.float32), np.zeros_like(mean)
                self.start |= dict(zip(_WINDOWS, none, strict=True))
            self._check_sanity(parse(bundle.files[SANITY]))
        except KeyError as error:
            raise BundleError(f"{PARAMS} or {SANITY} has no {error}: export the bundle again") from None

    @property
    def moving(self) -> tuple[str, ...]:
        """The heads' state, the trust in the experts, the spread of the errors, and what windows told."""
        windows = _WINDOWS if "means" in self.heads else ()
        return (*(f"state.{name}" for name in self._states), "state.trust", "state.spread", *windows)

    def outputs(self, params: Params, x: Float) -> Float:
        """Log probabilities, or normalized targets, (n, width) for normalized inputs (n, *shape)."""
        shares, features, state = self._heard(params), self.features(params, x), self._state(params)
        told = self._experts.own if len(shares) == len(self.heads) else self._experts.every
        return self._experts.mixed(shares, told(state, features))

    def see(self, params: Params, x: Float) -> Seen:
        """What `learn` needs of its input, and `outputs` of it: the body runs once for both."""
        features, shares = self.features(params, x), self._heard(params)
        answers = self._experts.every(self._state(params), features)
        return Seen(features, answers, self._experts.mixed(shares, answers[-len(shares) :]))

    def learn(
        self, params: Params, x: Float, y: NDArray[np.generic], seen: Seen | None = None
    ) -> tuple[Params, Float]:
        """One label: the parameters after it, and the outputs (width,) before it.

        Args:
            x: (1, *shape) normalized input.
            y: (1,) int64 class or (1, width) float32 normalized targets.
            seen: from `see` of the same parameters and input, where that was done already.
        """
        seen = self.see(params, x) if seen is None else seen
        target = self._target(y)
        moved = self._updated(self._learn, params, seen.features, target)
        scores = self._experts.scores(seen.answers, target)
        moved["state.trust"] = experts.after(params["state.trust"], scores)
        if not self._classes:
            moved["state.spread"] = self._spread(params, seen.features, seen.outputs, target)
        return {**params, **moved}, seen.outputs[0]

    def notice(self, params: Params, x: Float) -> Params:
        """The parameters after one window (1, *shape) without a label; the same where no class means are."""
        if "means" not in self.heads:
            return params
        features = self.features(params, x)
        chances = self._experts.chances(features)[0]
        number, total = (params[name] for name in _WINDOWS)
        seen = unlabelled.counted(number, total, chances, features["z"][0])
        return {**params, **dict(zip(_WINDOWS, seen, strict=True))}

    def reopened(self, params: Params) -> Params:
        """What is known, held as loosely as on a new device: after drift, the next labels count again."""
        first = {f"state.{head}.cov": self._first[f"{head}.cov"] for head in self.heads}
        first |= {name: self.start[name] for name in ("state.trust", *_WINDOWS) if name in self.start}
        return {**params, **first}

    def shares(self, params: Params) -> dict[str, float]:
        """How much each expert says, by name: `start`, `last`, `means`."""
        shares = experts.weights(params["state.trust"], self._trust)
        return dict(zip(("start", *self.heads), shares.tolist(), strict=True))

    def interval(self, params: Params, x: Float, level: float) -> Interval:
        """Where the targets of normalized inputs (n, *shape) lie with probability `level`.

        The quantiles of the fleet's errors, as wide as this device's own errors have been beside the fleet's.
        """
        features, _, middle = self.see(params, x)
        quantile = np.array([np.interp(level, self._prior["levels"], row) for row in self._prior["interval"]])
        half = (self._unit(params, features) * quantile * params["state.spread"]).astype(np.float32)
        return Interval(middle - half, middle + half)

    def features(self, params: Params, x: Float) -> dict[str, Float]:
        """What the heads read, by name in `learn.onnx`: (n, d) each."""
        same = all(params[name] is own for name, own in self._body.items())
        read = self._features(x) if same else self._features.instead(params, x)
        return dict(zip(self._named, read, strict=True))

    def _state(self, params: Params) -> dict[str, Float]:
        """What each head knows, of labels and of windows without them."""
        state = {name: params[f"state.{name}"] for name in self._states}
        if _WINDOWS[0] in params and params[_WINDOWS[0]] is not self.start[_WINDOWS[0]]:
            known = state["means.mean"], state["means.cov"]
            informed = unlabelled.informed(*known, *(params[name] for name in _WINDOWS))
            state["means.mean"], state["means.cov"] = informed
        return state

    def _heard(self, params: Params) -> Float:
        """The experts' shares, the start's only where it is heard."""
        shares = experts.weights(params["state.trust"], self._trust)
        return shares if shares[0] > _SILENT else shares[1:]

    def _updated(
        self, learn: Graph, params: Params, features: Mapping[str, Float], target: Float
    ) -> dict[str, Float]:
        given = [features[name] for name in self._named] + [params[f"state.{name}"] for name in self._states]
        moved = learn(*given, target)
        return {f"state.{name}": value for name, value in zip(self._states, moved, strict=True)}

    def _unit(self, params: Params, features: Mapping[str, Float]) -> Float:
        """The fleet's mean absolute error at each input, (n, width)."""
        phi = features["phi"]
        variance = 1.0 + np.add.reduce((phi @ params["state.last.cov"]) * phi, axis=1, keepdims=True)
        result: Float = self._prior["noise"] * np.sqrt(variance)
        return result

    def _spread(self, params: Params, features: Mapping[str, Float], outputs: Float, target: Float) -> Float:
        error = np.mean(np.abs(outputs - target) / self._unit(params, features))
        moved = params["state.spread"] + _SPREAD_RATE * (np.minimum(error, 5.0) - params["state.spread"])
        return np.asarray(moved, np.float32)

    def _target(self, y: NDArray[np.generic]) -> Float:
        if not self._classes:
            return y.astype(np.float32)
        one_hot = np.zeros((1, self.manifest.output.width), np.float32)
        one_hot[0, int(y[0])] = 1.0
        return one_hot

    def _learning(self, session: InferenceSession, forgetting: tuple[float, ...]) -> Graph:
        """One label; fixed is what is forgotten, and what of the fleet takes its place."""
        fixed: dict[str, Float] = {}
        for head, kept in zip(self.heads, forgetting, strict=True):
            gamma = np.asarray(kept, np.float32)
            fixed[f"{head}.gamma"] = gamma
            fixed[f"pull.{head}.mean"] = self._first[f"{head}.mean"] * (1 - gamma)
            fixed[f"pull.{head}.cov"] = self._first[f"{head}.cov"] * (1 - gamma * gamma)
        inputs = [*self._named, *self._states, "y"]
        return Graph(session, fixed, inputs, [f"next.{name}" for name in self._states])

    def _session(self, bundle: Bundle, file: str, like: ClosedFormEngine | None) -> InferenceSession:
        if like is not None and like.manifest.files[file] == self.manifest.files[file]:
            return (like._features if file == FEATURES else like._learn).session
        return open_session(bundle, file)

    def told(self, params: Params, xs: Float, ys: NDArray[np.generic]) -> Float:
        """The mean of the heads before each label, (labels, width), without forgetting."""
        remembering = self._learning(self._learn.session, (1.0,) * len(self.heads))
        told, now = [], dict(params)
        for x, y in zip(xs, ys, strict=True):
            features = self.features(now, x[None].astype(np.float32))
            told.append(self._experts.together(self._state(now), features)[0])
            now |= self._updated(remembering, now, features, self._target(np.asarray(y)[None]))
        return np.stack(told)

    def _check_sanity(self, sanity: Mapping[str, NDArray[np.generic]]) -> None:
        xs, ys = sanity["x"].astype(np.float32), sanity["y"]
        expected = sanity["outputs"].astype(np.float32)
        try:
            off = row_error(self.told(self.start, xs, ys), expected)
        except Exception as error:  # a graph that cannot run the vector is refused like a wrong one
            raise BundleError(f"the bundle cannot run its sanity vector ({error})") from None
        check_sanity(off, self.manifest.sanity_tolerance)
