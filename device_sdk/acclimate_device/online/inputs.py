"""Watches the inputs without labels: finds their shift, and gathers what it takes to undo it."""

from __future__ import annotations

import contextlib
import json
import threading

from acclimate_device.drift import InputShift
from acclimate_device.online.alignment import Alignment, Moments, Realigner
from acclimate_device.online.schema import Float, Schema
from acclimate_device.protocol import EventKind, canonical_json


class InputWatch:
    """`see` may be called from any thread and never waits; the rest waits for a `see` at most.

    Args:
        detector: of shifts.
        realign_window: see `OnlinePolicy`; None where shifts are not undone.
        kept: what `snapshot` gave before a restart.
    """

    def __init__(self, detector: InputShift, realign_window: int | None, kept: bytes | None = None) -> None:
        self._detector, self._window = detector, realign_window
        self._lock = threading.Lock()
        self._schema: Schema | None = None
        self._news: tuple[EventKind, str] | None = None
        self._realigner: Realigner | None = None
        self._kept = kept

    @property
    def distance(self) -> float:
        """Of the latest inputs from those of the detector's reference."""
        return self._detector.distance

    @property
    def before(self) -> Moments | None:
        """Of the inputs before a shift; None where not known, or not asked for."""
        return None if self._realigner is None else self._realigner.before

    def begin(self, channels: tuple[str, ...], before: Moments | None = None) -> None:
        """Inputs are as they should be from here on, unless `before` says how they should be."""
        if self._window is None:
            return
        with self._lock:
            self._realigner = Realigner(channels, self._window, before)

    def leapt(self, seconds: float) -> None:
        """The clock was set: hours of the day go on as before."""
        with self._lock:
            self._detector.leapt(seconds)

    def see(self, schema: Schema, raw: Float, at: float | None = None) -> None:
        """Take an input as it was recorded; it is skipped rather than waited for.

        Args:
            at: Unix seconds, so that hours are compared with hours.

        The first schema measures all inputs of its shape: a version that normalizes otherwise is no drift.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            detector, warned = self._detector, self._detector.warning_detected
            if self._schema is None or self._schema.layout != schema.layout:
                self._schema, warned = schema, False
                detector.reset()
                self._resume(schema, len(schema.features(schema.normalize(raw))))
            detector.update(self._schema.features(self._schema.normalize(raw)), at)
            if self._realigner is not None:
                self._realigner.update(raw)
            if detector.drift_detected:
                self._news = ("drift", f"distance {detector.distance:.1f}")
                if self._realigner is not None:
                    self._realigner.shifted()
            elif detector.warning_detected and not warned:
                self._news = ("warning", f"distance {detector.distance:.1f}")
        finally:
            self._lock.release()

    def snapshot(self) -> bytes | None:
        """What was learnt of the inputs, to be kept over a restart; None where none came."""
        with self._lock:
            if self._schema is None:
                return None
            return canonical_json({"measure": self._schema.measure, **self._detector.state()})

    def _resume(self, schema: Schema, width: int) -> None:
        """Go on from what was kept, if it was measured as `schema` measures, in as many features."""
        kept, self._kept = self._kept, None
        if kept is None:
            return
        with contextlib.suppress(
            ValueError, RecursionError
        ):  # of another version of this package: learnt anew
            state = json.loads(kept)
            if isinstance(state, dict) and state.get("measure") == schema.measure:
                self._detector.restore(state, width)

    def news(self) -> tuple[EventKind, str] | None:
        """A warning or a drift since the last call, and how far the inputs went."""
        news, self._news = self._news, None
        return news

    def due(self) -> Alignment | None:
        """A new or better alignment, where enough inputs came for one.

        Raises:
            AlignmentError: the inputs since the shift allow none; this ends the attempt.
        """
        if self._realigner is None:
            return None
        with self._lock:
            return self._realigner.due()

    def settle(self) -> None:
        """Whether to align is decided: gather no more until the next shift."""
        if self._realigner is not None:
            with self._lock:
                self._realigner.settle()
