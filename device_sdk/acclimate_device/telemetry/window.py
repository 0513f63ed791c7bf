"""One window of telemetry being filled: what becomes a report, and nothing that could identify an example."""

from __future__ import annotations

import threading
from collections import Counter, deque

from acclimate_device.protocol import LIMITS, Event, EventKind, Release, Report, Resources, Slot
from acclimate_device.telemetry.sketch import Sketch

_FOLD = 256


class Window:
    """Counts and sums since `started_at`.

    `predicted` may be called from any thread and never waits; the rest is called by one thread at a time.
    """

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.mistakes = self.steps = self.adaptations = self.kept_starts = 0
        self.warnings = self.drifts = self.resets = self.fallbacks = 0
        self.start_loss, self.adapted_loss = Sketch(), Sketch()
        self.input_shift, self.adapt_us = Sketch(), Sketch()
        self._predict_us = Sketch()
        self._pending: deque[float] = deque()
        self._folding = threading.Lock()
        self._refusals: Counter[str] = Counter()
        self._events: list[Event] = []
        self._events_dropped = 0

    def predicted(self, microseconds: float) -> None:
        """Note one prediction and its time."""
        self._pending.append(microseconds)  # atomic
        if len(self._pending) >= _FOLD and self._folding.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._folding.release()

    def refused(self, error: Exception) -> None:
        """Note a call that was refused; only the first 32 kinds are told apart."""
        name = type(error).__name__
        self._refusals[name if name in self._refusals or len(self._refusals) < 31 else "other"] += 1

    def event(self, at: float, kind: EventKind, source: str = "", detail: str = "") -> None:
        """Note a decision."""
        if len(self._events) < LIMITS.report_events:
            self._events.append(Event(at, kind, source[:128], detail[:256]))
        else:
            self._events_dropped += 1

    def empty(self) -> bool:
        """Whether nothing happened at all."""
        return not (
            self._pending
            or self._predict_us.count
            or self.start_loss.count
            or self.adapted_loss.count
            or self._events
            or self._refusals
        )

    def report(
        self,
        report_id: str,
        ended_at: float,
        release: Release,
        counter: int,
        slot: Slot,
        resources: Resources,
    ) -> Report:
        """The window as a report."""
        with self._folding:
            self._fold()
        return Report(
            id=report_id,
            started_at=round(self.started_at, 3),
            ended_at=round(ended_at, 3),
            release=release,
            counter=counter,
            slot=slot,
            predictions=self._predict_us.count,
            mistakes=self.mistakes,
            start_loss=self.start_loss.summary(),
            adapted_loss=self.adapted_loss.summary(),
            input_shift=self.input_shift.summary(),
            predict_us=self._predict_us.summary(),
            adapt_us=self.adapt_us.summary(),
            steps=self.steps,
            adaptations=self.adaptations,
            kept_starts=self.kept_starts,
            warnings=self.warnings,
            drifts=self.drifts,
            resets=self.resets,
            fallbacks=self.fallbacks,
            refusals=dict(self._refusals),
            events=tuple(self._events),
            events_dropped=self._events_dropped,
            resources=resources,
        )

    def _fold(self) -> None:
        for _ in range(len(self._pending)):
            self._predict_us.add(self._pending.popleft())
