"""Fills one window of telemetry after the other: counts, sums and sketches, never an example."""

from __future__ import annotations

import threading
from collections import Counter, deque

from acclimate_device.protocol import LIMITS, Event, EventKind, Release, Report, Resources, Slot
from acclimate_device.telemetry.merge import OTHER, REFUSAL_KINDS
from acclimate_device.telemetry.sketch import FEWEST, Sketch
from acclimate_device.telemetry.told import moment, told

_FOLD = 256
_Under = tuple[Release, int, Slot]


class _Labelled:
    """What labelled examples showed: losses under the start and under adapted parameters, and mistakes."""

    def __init__(self) -> None:
        self.start, self.adapted, self.mistakes = Sketch(), Sketch(), 0

    @property
    def count(self) -> int:
        return self.start.count + self.adapted.count

    def merge(self, other: _Labelled) -> None:
        self.start.merge(other.start)
        self.adapted.merge(other.adapted)
        self.mistakes += other.mistakes


class Recorder:
    """The window since `began`, which is in seconds of the clock that only goes forward.

    `predicted` and `refused` may be called from any thread and never wait; the rest by one thread at a time.
    """

    def __init__(self, began: float) -> None:
        self._predicted: deque[float] = deque()
        self._refused: deque[str] = deque()
        self._folding = threading.Lock()
        self._distance = 0.0
        self._carried: tuple[_Labelled, _Under | None] = _Labelled(), None
        self._begin(began)

    def _begin(self, began: float) -> None:
        self.began = began
        self.steps = self.adaptations = self.kept_starts = 0
        self.warnings = self.drifts = self.resets = self.fallbacks = self.clamped = self.alarms = 0
        self._labelled = _Labelled()
        self._input_shift, self.adapt_us, self._predict_us = Sketch(), Sketch(), Sketch()
        self._refusals: Counter[str] = Counter()
        self._events: list[Event] = []
        self._events_dropped = 0

    def predicted(self, microseconds: float) -> None:
        """Note one prediction and its time."""
        self._predicted.append(microseconds)  # atomic, as popleft is
        if len(self._predicted) >= _FOLD and self._folding.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._folding.release()

    def refused(self, error: Exception) -> None:
        """Note a call that was refused, by the error's class; the first 31 classes are told apart."""
        self._refused.append(type(error).__name__)
        if len(self._refused) >= _FOLD and self._folding.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._folding.release()

    def labelled(self, loss: float, adapted: bool, mistaken: bool) -> None:
        """Note the loss of one labelled example, under adapted parameters or the start's."""
        (self._labelled.adapted if adapted else self._labelled.start).add(loss)
        self._labelled.mistakes += mistaken

    def input_shift_is(self, distance: float) -> None:
        """Note how far the inputs are from their reference, if that is news."""
        if distance != self._distance:
            self._distance = distance
            self._input_shift.add(distance)

    def event(self, at: float, kind: EventKind, source: str = "", detail: str = "") -> None:
        """Note a decision."""
        if len(self._events) < LIMITS.report_events:
            self._events.append(told(at, kind, source, detail))
        else:
            self._events_dropped += 1

    def empty(self) -> bool:
        """Whether nothing happened in this window."""
        return not (self._predicted or self._refused or self._labelled.count or self._events) and not (
            self._predict_us.count or self._refusals or self.resets
        )

    def close(
        self,
        report_id: str,
        now: float,
        elapsed: float,
        release: Release,
        counter: int,
        slot: Slot,
        resources: Resources,
        clock_offset_s: float = 0.0,
    ) -> Report:
        """The window as a report; the next one begins now.

        Losses of fewer than `FEWEST` examples do not leave: they wait for the next window of the same version
        under the same assignment.

        Args:
            now: Unix seconds by the device's clock.
            elapsed: the same moment by the clock that only goes forward.
        """
        with self._folding:
            self._fold()
            labelled = self._to_tell((release, counter, slot))
            report = Report(
                id=report_id,
                started_at=moment(now - (elapsed - self.began)),
                ended_at=moment(now),
                release=release,
                counter=counter,
                slot=slot,
                predictions=self._predict_us.count,
                mistakes=labelled.mistakes,
                start_loss=labelled.start.veiled_summary(),
                adapted_loss=labelled.adapted.veiled_summary(),
                input_shift=self._input_shift.veiled_summary(),
                predict_us=self._predict_us.summary(),
                adapt_us=self.adapt_us.summary(),
                steps=self.steps,
                adaptations=self.adaptations,
                kept_starts=self.kept_starts,
                warnings=self.warnings,
                drifts=self.drifts,
                resets=self.resets,
                fallbacks=self.fallbacks,
                clamped=self.clamped,
                alarms=self.alarms,
                refusals=dict(self._refusals),
                events=tuple(self._events),
                events_dropped=self._events_dropped,
                resources=resources,
                clock_offset_s=clock_offset_s,
            )
            self._begin(elapsed)
        return report

    def _to_tell(self, under: _Under) -> _Labelled:
        """What may be told of labelled examples now; the rest is carried on, as long as `under` stays."""
        found, (carried, carried_under) = self._labelled, self._carried
        if carried_under == under:
            found.merge(carried)
        tell, keep = _Labelled(), _Labelled()
        for part in ("start", "adapted"):
            losses: Sketch = getattr(found, part)
            setattr(tell if losses.count >= FEWEST else keep, part, losses)
        (tell if tell.count else keep).mistakes = found.mistakes
        self._carried = keep, under
        return tell

    def _fold(self) -> None:
        for _ in range(len(self._predicted)):
            self._predict_us.add(self._predicted.popleft())
        for _ in range(len(self._refused)):
            name = self._refused.popleft()
            known = name in self._refusals or len(self._refusals) < REFUSAL_KINDS - 1
            self._refusals[name if known else OTHER] += 1
