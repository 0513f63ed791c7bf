"""How a device learns: which examples it keeps, when it adapts, and what it does about drift.

`Active` is what predicts: immutable, so that whoever holds one holds a whole version with whole parameters.
Each method takes the one in use and returns the one to use next.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from acclimate_device.drift import ADWIN, Detector
from acclimate_device.online.adaptation import adapt
from acclimate_device.online.alignment import Alignment
from acclimate_device.online.policy import OnlinePolicy, Response
from acclimate_device.online.schema import Float, Schema, Target
from acclimate_device.online.support import Example, Support
from acclimate_device.online.versions import Running
from acclimate_device.protocol import EventKind
from acclimate_device.runtime import ClosedFormEngine, GradientEngine, NormalEngine, Params, Seen
from acclimate_device.telemetry import FEWEST, Recorder

Note = Callable[[EventKind, str, str], None]
"""Records an event: kind, source, detail."""


@dataclass(frozen=True)
class Active:
    """A version with the parameters in use, and what undoes a shift of its inputs."""

    running: Running
    schema: Schema
    params: Params
    adapted: bool
    alignment: Alignment | None = None

    @staticmethod
    def fresh(running: Running, policy: OnlinePolicy) -> Active:
        """A version at its start."""
        schema = Schema(running.engine.manifest, policy.allow_constant)
        return Active(running, schema, running.engine.start, False)

    @property
    def learnt(self) -> bool:
        """Whether anything was learnt, used or not."""
        return self.params is not self.running.engine.start

    def at_start(self) -> Active:
        return replace(self, params=self.running.engine.start, adapted=False)

    def aligned(self, raw: Float) -> Float:
        """One recorded input as it was before the sensor shifted; everything learnt is learnt from these."""
        return raw if self.alignment is None else self.alignment.apply(raw)

    def outputs(self, normalized: Float) -> Float:
        """Of normalized inputs (n, *shape)."""
        return self.running.engine.outputs(self.params, normalized)


def loss_detector() -> Detector:
    """The default: a rising bounded loss, checked often because labels are few."""
    return ADWIN(clock=8, mode="up")


class _Tried(NamedTuple):
    """A labelled example under an unjudged alignment, and the losses with and without that."""

    raw: Float
    target: Target
    aligned: float
    plain: float


class Learner:
    """The support and the detector of one device.

    Args:
        policy: when to do what.
        detector: watches the bounded losses.
        recorder: counts what happens.
        note: records events.
        forget: called before a drift resets, to make saved state invalid.
        settled: called when labelled examples have decided whether the alignment of the inputs stays.
    """

    def __init__(
        self,
        policy: OnlinePolicy,
        detector: Detector,
        recorder: Recorder,
        note: Note,
        forget: Callable[[], None],
        settled: Callable[[], None],
    ) -> None:
        self._policy, self._detector, self._recorder = policy, detector, recorder
        self._note, self._forget, self._settled = note, forget, settled
        self._trial: list[_Tried] = []
        self._support: Support | None = None
        self._warned = False
        self._since_adaptation = self._hurry_left = 0
        self._last_anomaly = -math.inf  # the number of its prediction

    def learn(self, active: Active, raw: Float, target: Target, inputs_drifted: bool) -> Active:
        """Predict a checked example, watch the loss, keep it, adapt when due."""
        if isinstance(active.running.engine, NormalEngine):
            return self._learn_normal(active, active.running.engine, raw)
        engine = active.running.engine
        x = active.schema.normalize(active.aligned(raw))[None]
        seen = engine.see(active.params, x) if isinstance(engine, ClosedFormEngine) else None
        outputs = active.outputs(x) if seen is None else seen.outputs
        response = self._watch(active, outputs, target)
        if inputs_drifted and response == "report" and self._policy.on_input_shift != "realign":
            response = self._policy.on_input_shift
        active = self._keep(active, raw, target, seen)
        if isinstance(engine, ClosedFormEngine):  # it has learnt, and its start is always among its experts
            return active if response == "report" else self._reopen(active, engine)
        if response == "reset":
            self._forget()
            active = self.start_afresh(active, self._policy.keep)
            self._note("reset", "drift", f"kept the newest {self._policy.keep} examples")
        if response != "report":
            self._hurry_left = self._policy.hurry
        every = max(1, self._policy.every // 4) if self._hurry_left else self._policy.every
        self._hurry_left = max(0, self._hurry_left - 1)
        if response != "report" or self._since_adaptation >= every:
            return self.adapt(active)
        return active

    def alarmed(self, active: Active, number: int) -> None:
        """A predicted window is an anomaly: one that begins after a quiet time is reported.

        Args:
            number: of the prediction, counted up.
        """
        engine = active.running.engine
        assert isinstance(engine, NormalEngine)
        quiet, self._last_anomaly = number - self._last_anomaly > engine.prior.quiet, number
        if quiet:
            self._recorder.alarms += 1
            self._note("alarm", "score", "above the threshold of what is normal on this device")

    def _learn_normal(self, active: Active, engine: NormalEngine, raw: Float) -> Active:
        started = time.perf_counter_ns()
        params = engine.learn(active.params, active.schema.normalize(active.aligned(raw))[None])
        self._recorder.steps += 1
        self._recorder.adapt_us.add((time.perf_counter_ns() - started) / 1000.0)
        return replace(active, params=params, adapted=True)

    def realign(self, active: Active, alignment: Alignment) -> Active:
        """Map inputs back from now on, until labelled examples have the last word."""
        self._note("realigned", "inputs", "until labelled examples decide")
        return replace(active, alignment=alignment)

    def adapt(self, active: Active) -> Active:
        """Take the bundle's steps on the support and use what the held-back examples find best; a closed form
        learns the support from its start."""
        engine, started = active.running.engine, time.perf_counter_ns()
        if isinstance(engine, NormalEngine):  # keeps no window
            return active
        support = self._support_of(active)
        if isinstance(engine, ClosedFormEngine):
            for example in support.in_order():
                active = self._solve(active, engine, example.x, example.target)
            return active
        assert isinstance(engine, GradientEngine)
        batches = support.batches(engine.adaptation.batch)
        if not batches:
            return active
        self._since_adaptation = 0
        current = active.params if active.adapted else None
        judges = support.judges()
        found = adapt(engine, active.schema, batches, judges, current, self._policy.judge_from)
        self._recorder.steps += found.steps
        self._recorder.adaptations += found.adapted
        self._recorder.kept_starts += not found.adapted
        self._recorder.adapt_us.add((time.perf_counter_ns() - started) / 1000.0)
        if found.adapted != active.adapted:
            kind: EventKind = "adapted" if found.adapted else "kept_start"
            if found.judged:
                detail = _losses(len(judges), found.loss, "the start", found.start_loss)
                self._note(kind, "held-back examples", detail)
            else:
                self._note(kind, "expected curve", "too few held-back examples")
        return replace(active, params=found.params, adapted=found.adapted)

    def examples(self, active: Active) -> list[Example]:
        """What the device learns from, in order; aligned inputs in the recorded units."""
        return self._support_of(active).in_order()

    def start_afresh(self, active: Active, keep: int) -> Active:
        """The start, with only the newest `keep` examples of the support."""
        self._support_of(active).keep_newest(keep)
        self._reset_watch()
        self._recorder.resets += 1
        if keep == 0:  # what is kept was learnt from aligned inputs
            self._trial.clear()
            self._settled()
            active = replace(active, alignment=None)
        return active.at_start()

    def restart(self, active: Active) -> Active:
        """The start, with the whole support: to compare versions, all begin with the same knowledge."""
        self._reset_watch()
        self._recorder.resets += 1
        return active.at_start()

    def move(self, running: Running, before: Active) -> Active:
        """A version at its start, adapted at once to what the support holds; the sensor is still the same."""
        active = Active.fresh(running, self._policy)
        if active.schema.shape == before.schema.shape:
            active = replace(active, alignment=before.alignment)
        else:
            self._trial.clear()
        self._reset_watch()
        old, engine = before.running.engine, running.engine
        if isinstance(engine, NormalEngine) and isinstance(old, NormalEngine) and before.learnt:
            params = engine.carried(before.params, old)
            return replace(active, params=params, adapted=params is not engine.start)
        return self.adapt(active)

    def _keep(self, active: Active, raw: Float, target: Target, seen: Seen | None) -> Active:
        """Put an example into the support; while an alignment is unjudged, hold it back to judge by."""
        support = self._support_of(active)
        if active.alignment is None or active.alignment.judged:
            return self._take(active, support, active.aligned(raw), target, seen)
        both = active.schema.normalize(np.stack([active.aligned(raw), raw]))
        targets = active.schema.normalize_targets([target, target])
        losses = active.schema.losses(active.outputs(both), targets)
        self._trial.append(_Tried(raw, target, float(losses[0]), float(losses[1])))
        if len(self._trial) < self._policy.judge_from:
            return active
        aligned = statistics.fmean(tried.aligned for tried in self._trial)
        plain = statistics.fmean(tried.plain for tried in self._trial)
        pays = aligned <= plain  # a loss that is not a number does not pay
        detail = _losses(len(self._trial), aligned, "inputs as they come", plain)
        self._note("realigned" if pays else "unaligned", "held-back examples", detail)
        active = replace(active, alignment=active.alignment.confirmed() if pays else None)
        if not pays:
            self._forget()  # saved state, which still holds the alignment
        for tried in self._trial:
            active = self._take(active, support, active.aligned(tried.raw), tried.target)
        self._trial.clear()
        self._settled()
        return active

    def _take(
        self, active: Active, support: Support, x: Float, target: Target, seen: Seen | None = None
    ) -> Active:
        """Put an example into the support; heads in closed form learn it at once."""
        support.add(x, target)
        self._since_adaptation += 1
        engine = active.running.engine
        return (
            self._solve(active, engine, x, target, seen) if isinstance(engine, ClosedFormEngine) else active
        )

    def _solve(
        self, active: Active, engine: ClosedFormEngine, x: Float, target: Target, seen: Seen | None = None
    ) -> Active:
        """One label into the heads, and the trust in the experts after it."""
        started = time.perf_counter_ns()
        normalized = active.schema.normalize(x)[None]
        params, _ = engine.learn(active.params, normalized, active.schema.normalize_targets([target]), seen)
        self._recorder.steps += 1
        self._recorder.adapt_us.add((time.perf_counter_ns() - started) / 1000.0)
        shares = engine.shares(params)
        adapted = shares["start"] < 0.5
        self._recorder.adaptations += adapted
        self._recorder.kept_starts += not adapted
        if adapted != active.adapted:
            told = ", ".join(f"{expert} {share:.2f}" for expert, share in shares.items())
            self._note("adapted" if adapted else "kept_start", "recent labels", told)
        return replace(active, params=params, adapted=adapted)

    def _reopen(self, active: Active, engine: ClosedFormEngine) -> Active:
        """After drift: what is known counts no more than a new device's knowledge of itself."""
        self._recorder.resets += 1
        self._detector.reset()
        self._note("reset", "drift", "the heads' covariance is the fleet's again")
        return replace(active, params=engine.reopened(active.params))

    def _support_of(self, active: Active) -> Support:
        """The support, moved to the version in use where it is of another."""
        shots = self._policy.shots or active.running.engine.manifest.adaptation.shots
        if self._support is None:
            self._support = Support(active.schema, shots, self._policy.held_back, self._policy.hold_back)
        elif self._support.schema is not active.schema:
            self._support = self._support.moved_to(active.schema, shots)
        return self._support

    def _watch(self, active: Active, outputs: Float, target: Target) -> Response:
        """Let the detector see the loss of what was predicted before learning (prequential)."""
        schema = active.schema
        loss = float(schema.losses(outputs, schema.normalize_targets([target]))[0])
        if not math.isfinite(loss):
            return "report"
        mistaken = schema.classification and int(outputs[0].argmax()) != target
        self._recorder.labelled(loss, active.adapted, mistaken)
        self._detector.update(schema.bounded(loss))
        name, policy = type(self._detector).__name__, self._policy
        if self._detector.drift_detected:
            self._recorder.drifts += 1
            self._warned = False
            self._note("drift", name, f"response: {policy.on_drift}")
            return policy.on_drift
        warned, self._warned = self._warned, self._detector.warning_detected
        if not self._warned or warned:
            return "report"
        self._recorder.warnings += 1
        self._note("warning", name, f"response: {policy.on_warning}")
        return policy.on_warning

    def _reset_watch(self) -> None:
        self._detector.reset()
        self._warned = False
        self._since_adaptation = 0


def _losses(examples: int, loss: float, beside: str, other: float) -> str:
    """Two mean losses for an event; which is lower must do where few examples could be told from them."""
    if examples < FEWEST:
        return f"held-back loss {'below' if loss < other else 'not below'} that of {beside}"
    return f"held-back loss {loss:.2g}, of {beside} {other:.2g}"
