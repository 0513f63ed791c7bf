"""The device an application talks to: predict, learn, reset.

Invariants:

* What predicts is one immutable `Active`, replaced by assigning one reference: a prediction sees one version
  and one set of parameters, whole, and waits for nobody.
* A call that raises has changed nothing but the count of refusals.
* Adapted state is written at most once every `save_s` unless an event demands it.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from acclimate_device.clock import Clock
from acclimate_device.drift import Detector, InputShift
from acclimate_device.errors import AlignmentError, BundleError, DeviceError, InputError, LabelError
from acclimate_device.online.health import Health
from acclimate_device.online.housekeeping import Housekeeping
from acclimate_device.online.inputs import InputWatch
from acclimate_device.online.keeping import Keeping
from acclimate_device.online.learner import Active, Learner, loss_detector
from acclimate_device.online.pending import Pending
from acclimate_device.online.policy import OnlinePolicy
from acclimate_device.online.saved import Adapted
from acclimate_device.online.schema import Float, Schema
from acclimate_device.online.versions import Load, ReadFile, Running, Versions
from acclimate_device.protocol import EventKind, Manifest, Release, Report, Slot
from acclimate_device.runtime import ClosedFormEngine, NormalEngine, load_engine
from acclimate_device.storage import Claim, FileFlash, Flash, SameProcess, Slots, Store
from acclimate_device.telemetry import Recorder, resources

logger = logging.getLogger(__name__)

_TOGETHER = 256
"""Inputs of one run of the graph: memory stays bounded."""
_UNUSABLE = "the model gives NaN or infinity for this input: it is outside what the model knows"


class Device:
    """One device: a version, its adaptation, its drift detectors and its telemetry.

    `Device.open` is for applications; this constructor takes the parts, for tests and simulations.

    Args:
        factory: reads a file of the bundle the device was shipped with.
        flash: where versions, adapted state and reports are kept.
        policy: what it does by itself.
        detector: watches the losses; by default ADWIN for a rising mean.
        input_shift: watches the inputs.
        clock: Unix seconds; by default the machine's, with durations by a clock that only goes forward.
        new_id: makes report ids: 32 hexadecimal digits.
        load: makes the engine of a bundle; a process that holds many devices shares engines here.
        on_report: is shown each closed window before it is queued.

    Raises:
        BundleError: no version loads, not even the factory's.
    """

    def __init__(
        self,
        factory: ReadFile,
        flash: Flash,
        policy: OnlinePolicy | None = None,
        detector: Detector | None = None,
        input_shift: InputShift | None = None,
        clock: Callable[[], float] | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        load: Load = load_engine,
        on_report: Callable[[Report], None] | None = None,
    ) -> None:
        self.policy = policy or OnlinePolicy()
        self._clock, self._new_id, self._on_report = Clock(clock), new_id, on_report
        self._lock, self._process = threading.RLock(), SameProcess()
        self._recorder = Recorder(self._clock.elapsed())
        store = Store(flash)
        self._keeping = Keeping(store, self._clock, new_id)
        self._versions = Versions(Slots(store), factory, self.policy.trial_starts, load)
        realign_window = self.policy.realign_window if self.policy.on_input_shift == "realign" else None
        self._inputs = InputWatch(input_shift or InputShift(block=4), realign_window)
        self._learner = Learner(
            self.policy,
            detector or loss_detector(),
            self._recorder,
            self._note,
            self._versions.reset,
            self._inputs.settle,
        )
        self._pending = Pending(self.policy.pending)
        self._predictions = 0  # since this version started, or nearly: threads may lose a few
        self._unsaved, self._saved_at = False, -math.inf
        self._housekeeping: Housekeeping | None = None
        self._claim: Claim | None = None
        self._active = self._restored(self._versions.start())
        self._note_versions()

    @classmethod
    def open(
        cls,
        bundle: Path | str,
        state: Path | str,
        policy: OnlinePolicy | None = None,
        detector: Detector | None = None,
        input_shift: InputShift | None = None,
    ) -> Device:
        """The device of this machine, with its housekeeping in a background thread.

        Args:
            bundle: folder of the bundle the device was shipped with, its factory initialization.
            state: folder that survives restarts, shared with the agent if there is one.
            policy: what it does by itself.
            detector: watches the losses.
            input_shift: watches the inputs.

        Raises:
            BundleError: no version loads, not even the factory's.
            StorageError: the folder `state` cannot be made.
            OwnerError: another application uses `state`.
        """
        folder = Path(bundle)

        def read(file: str) -> bytes | None:
            path = folder / file
            return path.read_bytes() if path.is_file() else None

        flash = FileFlash(state)
        claim = Claim(flash.root, "application")
        try:
            device = cls(read, flash, policy, detector, input_shift)
        except BaseException:
            claim.release()
            raise
        device._claim = claim
        device._housekeeping = Housekeeping(device.tick)
        return device

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def release(self) -> Release:
        """The exact version that predicts."""
        return self._active.running.release

    @property
    def slot(self) -> Slot:
        """Where it runs from: `a`, `b` or `factory`."""
        return self._active.running.slot

    @property
    def manifest(self) -> Manifest:
        """Everything about the version that predicts: labels, shapes, units, expected curve."""
        return self._active.running.engine.manifest

    @property
    def adapted(self) -> bool:
        """Whether adapted parameters predict, not the start's."""
        return self._active.adapted

    @property
    def health(self) -> Health:
        """Whether flash and clock do what they should, as of the last housekeeping."""
        return self._keeping.health

    def predict_one(self, x: Any, key: Hashable | None = None) -> Any:
        """The label (classification), whether it is an anomaly, a number, or an array: (targets,), of
        forecasts (horizon[, targets]).

        Args:
            x: of the manifest's shape, in the recorded units; a row may be a mapping from channel names.
            key: remembers the input, so that `learn_late(key, y)` can follow once the label is known.

        Raises:
            InputError: not a usable input; nothing changed.
        """
        active, outputs = self._predict(x, key)
        return active.schema.prediction(outputs)

    def predict_start_one(self, x: Any) -> Any:
        """`predict_one` of the start, whatever was adapted: what a device would say that never learnt.

        Raises:
            InputError: not a usable input; nothing changed.
        """
        active = self._active.at_start()
        raw = self._checked(active.schema, x)
        outputs = active.outputs(active.schema.normalize(active.aligned(raw))[None])[0]
        if not math.isfinite(np.add.reduce(outputs)):
            raise InputError(_UNUSABLE)
        return active.schema.prediction(outputs)

    def predict_proba_one(self, x: Any) -> dict[str, float]:
        """The probability of each label for one example.

        Raises:
            InputError: not a usable input; nothing changed.
            LabelError: the bundle does not classify.
        """
        if not self._active.schema.classification:
            raise LabelError("the bundle does not classify: use predict_one")
        active, outputs = self._predict(x, None)
        return active.schema.probabilities(outputs)

    def predict_interval_one(self, x: Any, level: float = 0.9) -> tuple[Any, Any]:
        """Where the target of one example lies with probability `level`: (lowest, highest).

        Args:
            level: between 0.5 and 0.99.

        Raises:
            InputError: not a usable input; nothing changed.
            LabelError: the bundle classifies, or adapts by gradient steps, which tell nothing of uncertainty.
            ValueError: `level` is out of range.
        """
        if not 0.5 <= level <= 0.99:
            raise ValueError(f"level is {level}: use 0.5 to 0.99")
        active = self._active
        engine = active.running.engine
        if active.schema.classification or not isinstance(engine, ClosedFormEngine):
            raise LabelError("intervals come with numbers learnt in closed form: use predict_one")
        raw = self._checked(active.schema, x)
        ends = engine.interval(active.params, active.schema.normalize(active.aligned(raw))[None], level)
        return active.schema.prediction(ends.low[0]), active.schema.prediction(ends.high[0])

    def predict_many(self, xs: Iterable[Any]) -> list[Any]:
        """`predict_one` for each, in one run of the graph, after all inputs were checked.

        All are predicted by one version with one set of parameters.

        Raises:
            InputError: an input is not usable; nothing changed.
        """
        self._process.check()
        active = self._active
        raws = [self._checked(active.schema, x) for x in xs]
        predictions: list[Any] = []
        for first in range(0, len(raws), _TOGETHER):
            started, some = time.perf_counter_ns(), raws[first : first + _TOGETHER]
            outputs = active.outputs(active.schema.normalize(np.stack([active.aligned(raw) for raw in some])))
            if not math.isfinite(np.add.reduce(outputs, axis=None)):
                return predictions + [self.predict_one(raw) for raw in raws[first:]]
            predictions += [active.schema.prediction(one) for one in outputs]
            for raw, one in zip(some, outputs, strict=True):
                self._note_prediction(active, raw, one)
            each_us = (time.perf_counter_ns() - started) / 1000.0 / len(some)
            for _ in some:
                self._recorder.predicted(each_us)
        return predictions

    def score_one(self, x: Any) -> float:
        """How far one window is from what is normal on this device: its log density below the usual one's.

        Above `threshold` it is an anomaly, of which `predict_one` says True.

        Raises:
            InputError: not a usable input; nothing changed.
            LabelError: the bundle does not tell anomalies.
        """
        active = self._active
        engine = active.running.engine
        if not isinstance(engine, NormalEngine):
            raise LabelError("the bundle does not tell anomalies: use predict_one")
        raw = self._checked(active.schema, x)
        outputs = active.outputs(active.schema.normalize(active.aligned(raw))[None])
        return float(outputs[0, 0]) + engine.prior.threshold

    def learn_one(self, x: Any, y: Any = None) -> None:
        """Learn from one labelled example: predict it, watch the loss, keep it, adapt when due.

        Where the bundle tells anomalies, learn one window as normal, without a label.

        Raises:
            InputError, LabelError: not a usable example; nothing changed.
        """
        self.learn_many([x], [y])

    def learn_many(self, xs: Sequence[Any], ys: Sequence[Any]) -> None:
        """`learn_one` for each; all examples are checked before the first is learnt.

        Raises:
            InputError, LabelError: an example is not usable, or there are not as many labels as inputs.
        """
        if len(xs) != len(ys):
            raise LabelError(f"{len(xs)} inputs came with {len(ys)} labels: give one label each")
        self._process.check()
        with self._lock:
            schema = self._active.schema
            try:
                examples = [(schema.input(x), schema.target(y)) for x, y in zip(xs, ys, strict=True)]
            except DeviceError as error:
                self._recorder.refused(error)
                raise
            for raw, target in examples:
                drifted = self._note_shift()
                self._active = self._learner.learn(self._active, raw, target, drifted)
            self._unsaved = True

    def learn_late(self, key: Hashable, y: Any) -> bool:
        """Learn from an input predicted earlier under `key`; False if it is no longer remembered.

        Raises:
            LabelError: not a usable label; the input stays remembered.
        """
        raw = self._pending.get(key)
        if raw is None:
            return False
        self.learn_one(raw, y)
        self._pending.forget(key)
        return True

    def reset(self) -> None:
        """Return to the initialization of the version in use and forget the support; works offline."""
        self._process.check()
        with self._lock:
            self._versions.reset()
            self._active = self._learner.start_afresh(self._active, keep=0)
            self._inputs.begin(self.manifest.input.channels)
            self._note("reset", "application", "")

    def tick(self) -> None:
        """Housekeeping: obey the agent, end trials, close report windows, save state.

        After `open` a thread calls it every second; simulations call it themselves. Trouble of the flash is
        in `health` and in the next report; it is not raised.

        Raises:
            OwnerError: this process was forked from the one that opened the device.
        """
        self._process.check()
        self._obey()
        with self._lock:
            self._confirm()
            self._note_shift()
            self._note_keeping()
            elapsed = self._clock.elapsed()
            if elapsed - self._recorder.began >= (self._versions.report_s or self.policy.report_s):
                self._report(self._versions.boot.counter)
            if self._unsaved and elapsed - self._saved_at >= self.policy.save_s:
                self._save()

    def close(self) -> None:
        """Stop the housekeeping, end a passed trial, report the open window, save what was learnt.

        In a process that was forked from the one that opened the device it does nothing.
        """
        if not self._process:
            return
        if self._housekeeping is not None:
            self._housekeeping.stop()
            self._housekeeping = None
        with self._lock:
            self._confirm()
            self._note_keeping()
            if not self._recorder.empty():
                self._report(self._versions.boot.counter)
            if self._unsaved:
                self._save()
        if self._claim is not None:
            self._claim.release()

    def _predict(self, x: Any, key: Hashable | None) -> tuple[Active, Float]:
        """Without a lock, unless the outputs are not finite."""
        self._process.check()
        started = time.perf_counter_ns()
        active = self._active
        raw = self._checked(active.schema, x)
        outputs: Float = active.outputs(active.schema.normalize(active.aligned(raw))[None])[0]
        if not math.isfinite(np.add.reduce(outputs)):
            active, outputs = self._leave(active, raw)
        if key is not None:
            self._pending.keep(key, raw)
        self._note_prediction(active, raw, outputs)
        self._recorder.predicted((time.perf_counter_ns() - started) / 1000.0)
        return active, outputs

    def _note_prediction(self, active: Active, raw: Float, outputs: Float) -> None:
        self._predictions += 1
        strange = active.schema.anomaly and bool(outputs[0] > 0.0)
        if strange:
            with self._lock:
                self._learner.alarmed(active, self._predictions)
        # An anomaly is no drift: what is strange for a while must not become what inputs look like.
        if not strange and self._predictions % self.policy.watch_every == 0:
            self._inputs.see(active.schema, raw, self._clock.now())

    def _checked(self, schema: Schema, x: Any) -> Float:
        try:
            return schema.input(x)
        except InputError as error:
            self._recorder.refused(error)
            raise

    def _note_shift(self) -> bool:
        """Record news of the inputs, and align them where that is due; whether they drifted."""
        self._realign()
        shifted = self._inputs.news()
        self._recorder.input_shift_is(self._inputs.distance)
        if shifted is None:
            return False
        kind, detail = shifted
        drifted = kind == "drift"
        self._recorder.drifts += drifted
        self._recorder.warnings += not drifted
        self._note(kind, "InputShift", f"{detail}, response: {self.policy.on_input_shift}")
        return drifted

    def _realign(self) -> None:
        try:
            alignment = self._inputs.due()
        except AlignmentError as error:
            self._recorder.refused(error)
            self._note("refused", type(error).__name__, str(error))
            return
        if alignment is not None:
            self._active = self._learner.realign(self._active, alignment)
            self._unsaved = True

    def _leave(self, active: Active, raw: Float) -> tuple[Active, Float]:
        """Leave parameters that give NaN: adapted ones for the start, a trial for the last good version."""
        with self._lock:
            if active is self._active and active.learnt:
                self._versions.reset()
                self._recorder.fallbacks += 1
                self._active = self._learner.start_afresh(active, keep=0)
                self._inputs.begin(self.manifest.input.channels)
                self._note("reset", "runtime", "adapted parameters gave NaN or infinity")
            elif active is self._active and self._versions.on_trial:
                self._versions.give_up("gave NaN or infinity")
                self._recorder.fallbacks += 1
                self._report(self._versions.boot.counter)
                self._switch(self._versions.last_good())
                self._note_versions()
            active = self._active
        outputs: Float = active.outputs(active.schema.normalize(active.aligned(raw))[None])[0]
        if not math.isfinite(outputs.sum()):
            error = InputError(_UNUSABLE)
            self._recorder.refused(error)
            raise error
        return active, outputs

    def _obey(self) -> None:
        """Follow the agent's assignment. A new version loads while the old one goes on predicting."""
        before = self._versions.boot.counter
        change = self._versions.assigned(self._active.running)
        with self._lock:
            if self._versions.boot.counter != before:
                # what was done under the old assignment is reported under it: the service compares by counter
                self._report(before)
            if change.running is not None:
                self._switch(change.running)
            elif change.fresh:
                self._active = self._learner.adapt(self._learner.restart(self._active))
                self._unsaved = True
                self._note("reset", "assignment", "")
            self._note_versions()

    def _confirm(self) -> None:
        """End the trial of a version that has proved itself."""
        if self._versions.on_trial and self._predictions >= self.policy.trial_predictions:
            self._versions.confirm()
            self._note_versions()

    def _switch(self, running: Running) -> None:
        """Let another version predict, adapted to the support; what the old one did was reported before."""
        before = self._active
        self._active = self._learner.move(running, before)
        if self._active.schema.layout != before.schema.layout:
            self._inputs.begin(self.manifest.input.channels)
        # the alignment is the device's, not the version's: it is saved again under the new one
        self._predictions, self._unsaved = 0, self._active.alignment is not None

    def _restored(self, running: Running) -> Active:
        active = Active.fresh(running, self.policy)
        self._inputs.begin(running.engine.manifest.input.channels)
        try:
            saved = self._keeping.load(running.engine, self._versions.boot.lineage)
        except BundleError as error:
            self._note("lost_state", f"{running.release.path}", str(error))
            return active
        if saved is None:
            return active
        self._note("restored", running.release.path, "")
        if saved.alignment is None or self.policy.on_input_shift != "realign":
            return Active(running, active.schema, saved.params, saved.adapted)
        self._inputs.begin(running.engine.manifest.input.channels, saved.before)
        return Active(running, active.schema, saved.params, saved.adapted, saved.alignment)

    def _report(self, counter: int) -> None:
        """Close the window as one of the assignment `counter`."""
        running = self._active.running
        self._recorder.clamped += self._active.schema.take_clamped()
        report = self._recorder.close(
            self._new_id(),
            self._clock.now(),
            self._clock.elapsed(),
            running.release,
            counter,
            running.slot,
            resources(),
            self._keeping.clock_offset_s(),
        )
        if self._on_report is not None:
            self._on_report(report)
        self._keeping.add(report)

    def _save(self) -> None:
        active, state = self._active, None
        if active.learnt or active.alignment is not None:
            state = Adapted(active.params, active.adapted, active.alignment, self._inputs.before)
        kept = self._keeping.save(active.running.engine, state, self._versions.boot.lineage)
        self._unsaved, self._saved_at = not kept, self._clock.elapsed()

    def _note_keeping(self) -> None:
        for note in self._keeping.look(self._versions):
            self._note(*note)
        if self._keeping.leap_s:
            self._inputs.leapt(self._keeping.leap_s)

    def _note(self, kind: EventKind, source: str, detail: str) -> None:
        self._recorder.event(self._clock.now(), kind, source, detail)
        logger.info("event=%s source=%s detail=%s", kind, source, detail)

    def _note_versions(self) -> None:
        for note in self._versions.take_notes():
            self._note(*note)
            self._recorder.fallbacks += note[0] in ("returned", "factory")
