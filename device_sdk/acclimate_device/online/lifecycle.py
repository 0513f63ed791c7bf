"""One device over time: which version and which parameters predict, and what is told of it.

Everything here that changes the device does so under one lock. What predicts is one immutable `Active`,
replaced by assigning one reference: whoever reads it sees one version and one set of parameters, whole, and
waits for nobody.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from acclimate_device.clock import Clock
from acclimate_device.drift import Detector, InputShift
from acclimate_device.errors import AlignmentError, BundleError, DeviceError, InputError, StorageError
from acclimate_device.online.contributing import Contributing, contribution
from acclimate_device.online.inputs import InputWatch
from acclimate_device.online.keeping import Keeping
from acclimate_device.online.learner import Active, Learner, loss_detector
from acclimate_device.online.policy import OnlinePolicy
from acclimate_device.online.saved import Adapted
from acclimate_device.online.schema import Float
from acclimate_device.online.versions import Load, ReadFile, Running, Versions
from acclimate_device.protocol import EventKind, Report, Round
from acclimate_device.runtime import ClosedFormEngine
from acclimate_device.storage import Flash, Slots, Store
from acclimate_device.telemetry import Recorder, resources

logger = logging.getLogger(__name__)

_INPUTS, _INPUTS_S = "inputs", 3600.0
"""Record of what was learnt of the inputs, and seconds between two writes of it."""
UNUSABLE = "the model gives NaN or infinity for this input: it is outside what the model knows"


class Lifecycle:
    """Follows the agent, ends trials, leaves what gives NaN, learns, closes report windows, saves.

    Adapted state is written at most once every `save_s` unless an event demands it.

    Args:
        factory: reads a file of the bundle the device was shipped with.
        flash: where versions, adapted state and reports are kept.
        policy: what the device does by itself.
        detector: watches the losses; by default ADWIN for a rising mean.
        input_shift: watches the inputs.
        clock: of the device.
        new_id: makes report ids: 32 hexadecimal digits.
        load: makes the engine of a bundle.
        on_report: is shown each closed window before it is queued.
        may_contribute: asked each time before anything is computed for a campaign.

    Raises:
        BundleError: no version loads, not even the factory's.
    """

    def __init__(
        self,
        factory: ReadFile,
        flash: Flash,
        policy: OnlinePolicy,
        detector: Detector | None,
        input_shift: InputShift | None,
        clock: Clock,
        new_id: Callable[[], str],
        load: Load,
        on_report: Callable[[Report], None] | None,
        may_contribute: Callable[[], bool],
    ) -> None:
        self.policy, self.clock = policy, clock
        self._new_id, self._on_report = new_id, on_report
        self.lock = threading.RLock()
        self.recorder = Recorder(clock.elapsed())
        store = Store(flash)
        self._contributing, self._may_contribute = Contributing(store), may_contribute
        self._unsaid = ""  # the campaign of which the application last failed to say whether it may
        self.keeping = Keeping(store, clock, new_id)
        self.versions = Versions(Slots(store), factory, policy.trial_starts, load)
        realign_window = policy.realign_window if policy.on_input_shift == "realign" else None
        kept = self.keeping.kept(_INPUTS)
        self.inputs = InputWatch(input_shift or InputShift(block=4), realign_window, kept)
        self.learner = Learner(
            policy,
            detector or loss_detector(),
            self.recorder,
            self._note,
            self.versions.reset,
            self.inputs.settle,
        )
        self._predictions = 0  # since this version started, or nearly: threads may lose a few
        self._unsaved, self._saved_at = False, -math.inf
        self._inputs_saved_at = clock.elapsed()
        self.active = self._restored(self.versions.start())
        self._note_versions()

    def predicted(self, active: Active, raw: Float, outputs: Float) -> None:
        """Count a prediction, and watch its input; from any thread, waiting only where it is an anomaly."""
        self._predictions += 1
        strange = active.schema.anomaly and bool(outputs[0] > 0.0)
        if strange:
            with self.lock:
                self.learner.alarmed(active, self._predictions)
        # An anomaly is no drift: what is strange for a while must not become what inputs look like.
        if not strange and self._predictions % self.policy.watch_every == 0:
            self.inputs.see(active.schema, raw, self.clock.now())
        if self.policy.unlabelled:
            self._notice(active, raw)

    def _notice(self, active: Active, raw: Float) -> None:
        """Learn from a window without its label; one that would have to wait for that is left out."""
        engine = active.running.engine
        if not isinstance(engine, ClosedFormEngine) or not self.lock.acquire(blocking=False):
            return
        try:
            current = self.active
            if current.running is active.running:
                x = current.schema.normalize(current.aligned(raw))[None]
                self.active = replace(current, params=engine.notice(current.params, x))
                self._unsaved = True
        finally:
            self.lock.release()

    def learn(self, xs: Sequence[Any], ys: Sequence[Any]) -> None:
        """Learn from examples, all checked before the first is learnt.

        Raises:
            InputError, LabelError: an example is not usable; nothing changed.
        """
        with self.lock:
            schema = self.active.schema
            try:
                examples = [(schema.input(x), schema.target(y)) for x, y in zip(xs, ys, strict=True)]
            except DeviceError as error:
                self.recorder.refused(error)
                raise
            for raw, target in examples:
                drifted = self._note_shift()
                self.active = self.learner.learn(self.active, raw, target, drifted)
            self._unsaved = True

    def reset(self) -> None:
        """Return to the start of the version in use and forget the support."""
        with self.lock:
            self.versions.reset()
            self.active = self.learner.start_afresh(self.active, keep=0)
            self.inputs.begin(self.active.running.engine.manifest.input.channels)
            self._note("reset", "application", "")

    def tick(self) -> None:
        """Housekeeping: obey the agent, end trials, close report windows, save state."""
        self._obey()
        with self.lock:
            self._confirm()
            self._note_shift()
            self._note_keeping()
            self._contribute()
            elapsed = self.clock.elapsed()
            if elapsed - self.recorder.began >= (self.versions.report_s or self.policy.report_s):
                self._report(self.versions.boot.counter)
            if self._unsaved and elapsed - self._saved_at >= self.policy.save_s:
                self._save()
            if elapsed - self._inputs_saved_at >= max(_INPUTS_S, self.policy.save_s):
                self._save_inputs()

    def _contribute(self) -> None:
        """Answer a campaign, where the agent left what it asks for."""
        with contextlib.suppress(StorageError):  # of which the keeping tells; it is tried again
            asked = self._contributing.asked(self.clock.now())
            if asked is None or not self._may_now(asked):
                return
            given = contribution(self.active, self.learner.examples(self.active), asked)
            if given is not None:
                self._contributing.answer(asked, given)

    def _may_now(self, asked: Round) -> bool:
        """What the application says; where it raises, no, which is logged once for each campaign."""
        try:
            return self._may_contribute()
        except Exception:
            if asked.id != self._unsaid:
                logger.exception("event=may_contribute_failed campaign=%s", asked.id)
            self._unsaid = asked.id
            return False

    def close(self) -> None:
        """End a passed trial, report the open window, save what was learnt."""
        with self.lock:
            self._confirm()
            self._note_keeping()
            if not self.recorder.empty():
                self._report(self.versions.boot.counter)
            if self._unsaved:
                self._save()
            self._save_inputs()
            self.keeping.flush()

    def leave(self, active: Active, raw: Float) -> tuple[Active, Float]:
        """Leave parameters that give NaN, adapted ones for the start, a trial for the last good version; what
        predicts instead, and its outputs for the recorded input `raw`.

        Raises:
            InputError: what predicts now gives NaN for it too.
        """
        with self.lock:
            if active is self.active and active.learnt:
                self.versions.reset()
                self.recorder.fallbacks += 1
                self.active = self.learner.start_afresh(active, keep=0)
                self.inputs.begin(self.active.running.engine.manifest.input.channels)
                self._note("reset", "runtime", "adapted parameters gave NaN or infinity")
            elif active is self.active and self.versions.on_trial:
                self.versions.give_up("gave NaN or infinity")
                self.recorder.fallbacks += 1
                self._report(self.versions.boot.counter)
                self._switch(self.versions.last_good())
                self._note_versions()
            active = self.active
        outputs: Float = active.outputs(active.schema.normalize(active.aligned(raw))[None])[0]
        if not math.isfinite(outputs.sum()):
            error = InputError(UNUSABLE)
            self.recorder.refused(error)
            raise error
        return active, outputs

    def _note_shift(self) -> bool:
        """Record news of the inputs, and align them where that is due; whether they drifted."""
        self._realign()
        shifted = self.inputs.news()
        self.recorder.input_shift_is(self.inputs.distance)
        if shifted is None:
            return False
        kind, detail = shifted
        drifted = kind == "drift"
        self.recorder.drifts += drifted
        self.recorder.warnings += not drifted
        self._note(kind, "InputShift", f"{detail}, response: {self.policy.on_input_shift}")
        return drifted

    def _realign(self) -> None:
        try:
            alignment = self.inputs.due()
        except AlignmentError as error:
            self.recorder.refused(error)
            self._note("refused", type(error).__name__, str(error))
            return
        if alignment is not None:
            self.active = self.learner.realign(self.active, alignment)
            self._unsaved = True

    def _obey(self) -> None:
        """Follow the agent's assignment. A new version loads while the old one goes on predicting."""
        before = self.versions.boot.counter
        change = self.versions.assigned(self.active.running)
        with self.lock:
            if self.versions.boot.counter != before:
                # what was done under the old assignment is reported under it: the service compares by counter
                self._report(before)
            if change.running is not None:
                self._switch(change.running)
            elif change.fresh:
                self.active = self.learner.adapt(self.learner.restart(self.active))
                self._unsaved = True
                self._note("reset", "assignment", "")
            self._note_versions()

    def _confirm(self) -> None:
        """End the trial of a version that has proved itself."""
        if self.versions.on_trial and self._predictions >= self.policy.trial_predictions:
            self.versions.confirm()
            self._note_versions()

    def _switch(self, running: Running) -> None:
        """Let another version predict, adapted to the support; what the old one did was reported before."""
        before = self.active
        self.active = self.learner.move(running, before)
        if self.active.schema.layout != before.schema.layout:
            self.inputs.begin(self.active.running.engine.manifest.input.channels)
        # the alignment is the device's, not the version's: it is saved again under the new one
        self._predictions, self._unsaved = 0, self.active.alignment is not None

    def _restored(self, running: Running) -> Active:
        active = Active.fresh(running, self.policy)
        self.inputs.begin(running.engine.manifest.input.channels)
        try:
            saved = self.keeping.load(running.engine, self.versions.boot.lineage)
        except BundleError as error:
            self._note("lost_state", f"{running.release.path}", str(error))
            return active
        if saved is None:
            return active
        self._note("restored", running.release.path, "")
        if saved.alignment is None or self.policy.on_input_shift != "realign":
            return Active(running, active.schema, saved.params, saved.adapted)
        self.inputs.begin(running.engine.manifest.input.channels, saved.before)
        return Active(running, active.schema, saved.params, saved.adapted, saved.alignment)

    def _report(self, counter: int) -> None:
        """Close the window as one of the assignment `counter`."""
        running = self.active.running
        self.recorder.clamped += self.active.schema.take_clamped()
        report = self.recorder.close(
            self._new_id(),
            self.clock.now(),
            self.clock.elapsed(),
            running.release,
            counter,
            running.slot,
            resources(),
            self.keeping.clock_offset_s(),
        )
        if self._on_report is not None:
            self._on_report(report)
        self.keeping.add(report)

    def _save(self) -> None:
        active, state = self.active, None
        if active.learnt or active.alignment is not None:
            state = Adapted(active.params, active.adapted, active.alignment, self.inputs.before)
        kept = self.keeping.save(active.running.engine, state, self.versions.boot.lineage)
        self._unsaved, self._saved_at = not kept, self.clock.elapsed()

    def _save_inputs(self) -> None:
        """Keep what was learnt of the inputs: a season takes a week to know."""
        snapshot = self.inputs.snapshot()
        if snapshot is not None:
            self.keeping.keep(_INPUTS, snapshot)
        self._inputs_saved_at = self.clock.elapsed()

    def _note_keeping(self) -> None:
        for note in self.keeping.look(self.versions):
            self._note(*note)
        if self.keeping.leap_s:
            self.inputs.leapt(self.keeping.leap_s)

    def _note(self, kind: EventKind, source: str, detail: str) -> None:
        self.recorder.event(self.clock.now(), kind, source, detail)
        logger.info("event=%s source=%s detail=%s", kind, source, detail)

    def _note_versions(self) -> None:
        for note in self.versions.take_notes():
            self._note(*note)
            self.recorder.fallbacks += note[0] in ("returned", "factory")
