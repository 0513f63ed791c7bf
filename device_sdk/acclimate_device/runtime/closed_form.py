"""Heads in closed form on a device: each label is learnt at once, and the start stays beside them.

The experts are the start, which never moves, and against it the Bayesian last layer and the class means, or
those of the two that the bundle has. A label is predicted first, then scores the experts, then moves the
heads in O(d^2): no learning rate, no old examples. What the tensors mean is said in
`acclimate_device.protocol`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from acclimate_device.bundle import Bundle
from acclimate_device.errors import BundleError
from acclimate_device.protocol import FEATURES, LEARN, PARAMS, SANITY, ClosedForm, HeadName, Manifest
from acclimate_device.runtime import experts, unlabelled
from acclimate_device.runtime.engine import Float, Params
from acclimate_device.runtime.session import check_sanity, open_session, row_error
from acclimate_device.runtime.tensors import parse

# Log of what the start weighs before any label: adaptation pays unless labels say otherwise. A class's first
# label always finds the heads worse than they are once they have it, so classes take more to be convinced.
_START_OF_CLASSES, _START_OF_NUMBERS = -7.0, -3.0
_SILENT = 1e-4  # a share of the start that no prediction needs to hear
_SPREAD_RATE = np.float32(0.02)  # fifty labels decide how wide a device's errors are beside the fleet's
_WINDOWS = ("state.windows.number", "state.windows.total")  # what windows without labels told
_FEATURE: dict[HeadName, str] = {"last": "phi", "means": "z"}


class Interval(NamedTuple):
    """Ends of a predictive interval, (n, width) each, in normalized units."""

    low: Float
    high: Float


class Seen(NamedTuple):
    """Inputs before their labels: what the heads read, what every expert says, and what is said of that."""

    features: dict[str, Float]
    answers: list[Float]
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
        self._features = self._session(bundle, FEATURES, like)
        self._learn = self._session(bundle, LEARN, like)
        self._feature_params = [
            entry.name for entry in self._features.get_inputs() if entry.name.startswith("param.")
        ]
        self._named = [_FEATURE[head] for head in self.heads]
        self._states = [f"{head}.{part}" for head in self.heads for part in ("mean", "cov")]
        self._next = [f"next.{name}" for name in self._states]
        self._learn_inputs = {entry.name for entry in self._learn.get_inputs()}
        try:
            self._first = {name: tensors[f"start.{name}"] for name in self._states}
            self._prior = {
                name.removeprefix("prior."): tensor
                for name, tensor in tensors.items()
                if name.startswith("prior.")
            }
            self._fixed = self._fixed_inputs(adaptation.forgetting)
            if self._classes:
                self._scale = {head: float(np.exp(self._prior[f"{head}.scale"])) for head in self.heads}
                self._power = {head: float(self._prior[f"{head}.power"]) for head in self.heads}
            start = _START_OF_CLASSES if self._classes else _START_OF_NUMBERS
            self._trust = np.array([start, *(0.0 for _ in self.heads)], np.float32)
            self.start: Params = {
                **{name: tensor for name, tensor in tensors.items() if name.startswith("param.")},
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
        shares, features = self._heard(params), self.features(params, x)
        own = self._own(params, features)
        return self._mixed(shares, own if len(shares) == len(own) else [self._fleet(features), *own])

    def see(self, params: Params, x: Float) -> Seen:
        """What `learn` needs of its input, and `outputs` of it: the body runs once for both."""
        features = self.features(params, x)
        answers = [self._fleet(features), *self._own(params, features)]
        shares = self._heard(params)
        return Seen(features, answers, self._mixed(shares, answers[-len(shares) :]))

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
        moved = self._updated(params, seen.features, target, self._fixed)
        moved["state.trust"] = experts.after(params["state.trust"], self._scores(seen.answers, target))
        if not self._classes:
            moved["state.spread"] = self._spread(params, seen.features, seen.outputs, target)
        return {**params, **moved}, seen.outputs[0]

    def notice(self, params: Params, x: Float) -> Params:
        """The parameters after one window (1, *shape) without a label; the same where no class means are."""
        if "means" not in self.heads:
            return params
        features = self.features(params, x)
        chances = np.exp(_log_softmax(self._fleet(features) / self._prior["temperature"])[0])
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
        feed = {name: params[name] for name in self._feature_params}
        feed["x"] = x
        return dict(zip(self._named, self._features.run(self._named, feed), strict=True))

    def _fleet(self, features: Mapping[str, Float]) -> Float:
        """What the start says: log probabilities or targets, (n, width)."""
        return _averaged([self._answer(head, self._first, features, "") for head in self.heads])

    def _own(self, params: Params, features: Mapping[str, Float]) -> list[Float]:
        if _WINDOWS[0] in params and params[_WINDOWS[0]] is not self.start[_WINDOWS[0]]:
            mean, cov, *seen = (params[name] for name in ("state.means.mean", "state.means.cov", *_WINDOWS))
            mean, cov = unlabelled.informed(mean, cov, *seen)
            params = {**params, "state.means.mean": mean, "state.means.cov": cov}
        return [self._answer(head, params, features, "state.") for head in self.heads]

    def _answer(
        self, head: HeadName, state: Mapping[str, Float], features: Mapping[str, Float], at: str
    ) -> Float:
        mean, cov, x = state[f"{at}{head}.mean"], state[f"{at}{head}.cov"], features[_FEATURE[head]]
        if head == "last":
            logits = x @ mean
            if not self._classes:
                return logits
            variance = 1.0 + np.add.reduce((x @ cov) * x, axis=1)
            logits = logits * (self._scale[head] / variance ** self._power[head])[:, None]
        else:
            variance = 1.0 + cov.diagonal()
            gap = x[:, None, :] - mean
            distance = np.add.reduce(gap * gap, axis=2)
            logits = -self._scale[head] * distance / variance - self._power[head] * np.log(variance)
        return _log_softmax(logits + self._prior[f"{head}.bias"])

    def _heard(self, params: Params) -> Float:
        """The experts' shares, the start's only where it is heard."""
        shares = experts.weights(params["state.trust"], self._trust)
        return shares if shares[0] > _SILENT else shares[1:]

    def _mixed(self, shares: Float, answers: list[Float]) -> Float:
        if not self._classes:
            return np.tensordot(shares, np.stack(answers), 1).astype(np.float32)
        chances = sum(share * np.exp(answer) for share, answer in zip(shares, answers, strict=True))
        result: Float = np.log(np.maximum(chances, np.float32(1e-30))) / self._prior["temperature"]
        return result.astype(np.float32)

    def _scores(self, answers: list[Float], target: Float) -> Float:
        """The log probability of the label, or minus the error in units of the usual one.

        Of the start, and of the heads together: their average is better than the one that is better alone,
        and the record of a head that began with nothing says little of what it knows by now.
        """
        start, own = answers[0], _averaged(answers[1:])
        if self._classes:
            at, temperature = int(target[0].argmax()), self._prior["temperature"]
            told = [float(_log_softmax(each / temperature)[0, at]) for each in (start, own)]
        else:
            noise = self._prior["noise"]
            told = [-float(np.mean(np.abs(each[0] - target[0]) / noise)) for each in (start, own)]
        return np.array([told[0], *(told[1] for _ in self.heads)], np.float32)

    def _updated(
        self, params: Params, features: Mapping[str, Float], target: Float, fixed: Mapping[str, Float]
    ) -> dict[str, Float]:
        feed = {**features, **fixed, **{name: params[f"state.{name}"] for name in self._states}, "y": target}
        if len(feed) != len(self._learn_inputs):
            feed = {name: value for name, value in feed.items() if name in self._learn_inputs}
        moved = self._learn.run(self._next, feed)
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

    def _fixed_inputs(self, forgetting: tuple[float, ...]) -> dict[str, Float]:
        """What every label is learnt with: what is forgotten, and what of the fleet takes its place."""
        fixed: dict[str, Float] = {}
        for head, kept in zip(self.heads, forgetting, strict=True):
            gamma = np.asarray(kept, np.float32)
            fixed[f"{head}.gamma"] = gamma
            fixed[f"pull.{head}.mean"] = self._first[f"{head}.mean"] * (1 - gamma)
            fixed[f"pull.{head}.cov"] = self._first[f"{head}.cov"] * (1 - gamma * gamma)
        return fixed

    def _session(self, bundle: Bundle, file: str, like: ClosedFormEngine | None) -> InferenceSession:
        if like is not None and like.manifest.files[file] == self.manifest.files[file]:
            return like._features if file == FEATURES else like._learn
        return open_session(bundle, file)

    def told(self, params: Params, xs: Float, ys: NDArray[np.generic]) -> Float:
        """The mean of the heads before each label, (labels, width), without forgetting."""
        remembering = self._fixed_inputs((1.0,) * len(self.heads))
        told, now = [], dict(params)
        for x, y in zip(xs, ys, strict=True):
            features = self.features(now, x[None].astype(np.float32))
            told.append(_averaged(self._own(now, features))[0])
            now |= self._updated(now, features, self._target(np.asarray(y)[None]), remembering)
        return np.stack(told)

    def _check_sanity(self, sanity: Mapping[str, NDArray[np.generic]]) -> None:
        xs, ys = sanity["x"].astype(np.float32), sanity["y"]
        expected = sanity["outputs"].astype(np.float32)
        try:
            off = row_error(self.told(self.start, xs, ys), expected)
        except Exception as error:  # a graph that cannot run the vector is refused like a wrong one
            raise BundleError(f"the bundle cannot run its sanity vector ({error})") from None
        check_sanity(off, self.manifest.sanity_tolerance)


def _averaged(answers: list[Float]) -> Float:
    """The log of the mean of the heads' probabilities, or the one head's answer."""
    if len(answers) == 1:
        return answers[0]
    result: Float = np.logaddexp(*answers) - np.float32(math.log(2.0))
    return result


def _log_softmax(logits: Float) -> Float:
    raised = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    result: Float = raised - np.log(np.add.reduce(np.exp(raised), axis=1, keepdims=True))
    return result
