"""What the experts say of an input: the start, and each head as this device's labels have moved it.

Logits are differences of large numbers: of squared distances in hundreds of dimensions float32 keeps less
than what tells classes apart. There are few of them, so they are added up in float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate_device.protocol import HeadName
from acclimate_device.runtime.engine import Float

Double = NDArray[np.float64]
State = Mapping[str, Float]
"""`last.mean`, `last.cov`, `means.mean`, `means.cov`, as far as there are these heads."""
READS: dict[HeadName, str] = {"last": "phi", "means": "z"}
"""Which feature each head reads."""
_LEAST = 1e-30  # a probability


class Answers:
    """The experts of one bundle.

    Args:
        heads: names, in order.
        start: the fleet's state.
        prior: what turns a state into answers, see `acclimate_device.protocol`.
        classes: whether the answers are log probabilities, or normalized targets.

    Raises:
        KeyError: the prior lacks something.
    """

    def __init__(self, heads: Sequence[HeadName], start: State, prior: State, classes: bool) -> None:
        self._heads, self._start, self._classes = heads, start, classes
        self._temperature = float(prior["temperature"]) if classes else 1.0
        self._noise = None if classes else prior["noise"]
        if classes:
            self._scale = {head: math.exp(prior[f"{head}.scale"]) for head in heads}
            self._power = {head: float(prior[f"{head}.power"]) for head in heads}
            self._bias = {head: prior[f"{head}.bias"].astype(np.float64) for head in heads}
        self._first = self._width(start["means.cov"]) if "means" in heads else None
        self._who = np.array([0, *(1 for _ in heads)])  # whose score an expert has

    def chances(self, features: Mapping[str, Float]) -> Float:
        """Probabilities of the classes by the start, `(n, width)`."""
        told = _averaged(self._said([self._start], features))[0] / self._temperature
        chances: Float = np.exp(_log_softmax(told)).astype(np.float32)
        return chances

    def together(self, state: State, features: Mapping[str, Float]) -> Float:
        """The mean of the heads, `(n, width)`."""
        told: Float = _averaged(self.own(state, features))[0].astype(np.float32)
        return told

    def own(self, state: State, features: Mapping[str, Float]) -> Double:
        """What each head says, `(heads, n, width)`."""
        return self._said([state], features)

    def every(self, state: State, features: Mapping[str, Float]) -> Double:
        """The start's, then each head's, `(1 + heads, n, width)`."""
        said = self._said([self._start, state], features)
        count = len(self._heads)
        return said if count == 1 else np.concatenate([_averaged(said[:count]), said[count:]])

    def mixed(self, shares: Float, answers: Double) -> Float:
        """What experts with these shares say together, `(n, width)`."""
        told = np.exp(answers) if self._classes else answers
        mean = (shares @ told.reshape(len(shares), -1)).reshape(told.shape[1:])
        if self._classes:
            mean = np.log(np.maximum(mean, _LEAST)) / self._temperature
        return mean.astype(np.float32)

    def scores(self, answers: Double, target: Float) -> Float:
        """The log probability of the label, or minus the error in units of the usual one, `(1 + heads,)`.

        Of the start, and of the heads together: their average is better than the one that is better alone,
        and the record of a head that began with nothing says little of what it knows by now.

        Args:
            answers: from `every`, of one input.
            target: `(1, width)`, one-hot or normalized.
        """
        told = answers if len(self._heads) == 1 else np.concatenate([answers[:1], _averaged(answers[1:])])
        if self._classes:
            found = _log_softmax(told / self._temperature)[:, 0, target[0].argmax()]
        else:
            found = -np.add.reduce(np.abs(told[:, 0] - target[0]) / self._noise, axis=1) / target.shape[1]
        return found.take(self._who).astype(np.float32)

    def _said(self, states: Sequence[State], features: Mapping[str, Float]) -> Double:
        """Of each state each head's answer, `(states x heads, n, width)`."""
        logits = np.concatenate(
            [self._logits(head, state, features) for state in states for head in self._heads]
        )
        logits = logits.reshape(len(states) * len(self._heads), -1, logits.shape[1])
        return _log_softmax(logits) if self._classes else logits

    def _logits(self, head: HeadName, state: State, features: Mapping[str, Float]) -> Double:
        mean, cov, x = state[f"{head}.mean"], state[f"{head}.cov"], features[READS[head]]
        if not self._classes:
            return (x @ mean).astype(np.float64)
        if head == "last":
            variance = 1.0 + np.add.reduce((x @ cov) * x, axis=1, dtype=np.float64, keepdims=True)
            logits: Double = self._bias[head] + (x @ mean) * (
                self._scale[head] / variance ** self._power[head]
            )
            return logits
        known = self._first if state is self._start else None
        narrow, level = known or self._width(cov)
        gap = x.astype(np.float64)[:, None, :] - mean
        told: Double = level - np.add.reduce(gap * gap, axis=2) * narrow
        return told

    def _width(self, cov: Float) -> tuple[Double, Double]:
        """What a class mean's squared distance costs, and what its logit is without one, `(C,)` each."""
        variance = 1.0 + cov.diagonal().astype(np.float64)
        return self._scale["means"] / variance, self._bias["means"] - self._power["means"] * np.log(variance)


def _averaged(said: Double) -> Double:
    """The log of the mean of the heads' probabilities, or the one head's answer; `(1, n, width)`."""
    return said if len(said) == 1 else np.logaddexp(said[:1], said[1:]) - math.log(2.0)


def _log_softmax(logits: Double) -> Double:
    raised = logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    result: Double = raised - np.log(np.add.reduce(np.exp(raised), axis=-1, keepdims=True))
    return result
