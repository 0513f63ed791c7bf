"""Reports: what a device learnt about itself in a window of time. Counts, sums and sketches; never raw data.

Reports are built to be merged: counts add, sums add, sketches add by bucket, so a device that was offline for
a month can send one report that loses resolution in time and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from acclimate_device.protocol.codec import Items, Number, Text
from acclimate_device.protocol.limits import LIMITS
from acclimate_device.protocol.messages import Count, Counter, Moment, Nonce, Prose, Release, Start

Slot = Literal["a", "b", "factory"]

EventKind = Literal[
    "installed",  # a new version was staged and starts its trials
    "confirmed",  # it passed its trials
    "returned",  # it failed them: back to the last good version
    "factory",  # nothing else was loadable: the factory initialization runs
    "refused",  # a bundle or an assignment was not trusted or not fit
    "adapted",  # adaptation paid and is in use
    "kept_start",  # adaptation did not pay: the start is in use
    "warning",  # a detector warns
    "drift",  # a detector found drift
    "reset",  # back to the initialization
    "restored",  # adapted state was read back after a restart
    "lost_state",  # saved state was damaged and dropped
    "realigned",  # shifted inputs are mapped back to what they were, without labels
    "repaired",  # a record on flash was mended from its second copy
    "set_aside",  # something damaged or foreign on flash was moved out of the way
    "storage_failed",  # flash takes no writes: what should be kept is kept in memory
    "storage_recovered",  # it takes them again
    "clock_jumped",  # the wall clock was set
    "alarm",  # a window that is not normal on this device, after a quiet time
    "unaligned",  # labelled examples found that this does not pay: inputs are taken as they come
]

SKETCH_BASE = 2 ** (1 / 4)
"""Bucket i > SKETCH_ZERO counts values in (BASE^(i-1), BASE^i]: quantiles to 9 % of their value."""
SKETCH_ZERO = -80
"""This bucket counts everything at most BASE^SKETCH_ZERO, about 1e-6."""
SKETCH_TOP = 120
"""This bucket counts everything above BASE^(SKETCH_TOP - 1), about 1e9, too."""

Bucket = tuple[Annotated[int, Number(SKETCH_ZERO, SKETCH_TOP)], Annotated[int, Number(1, LIMITS.count)]]


@dataclass(frozen=True)
class Summary:
    """A mergeable summary of non-negative numbers.

    Attributes:
        count, sum, sum_of_squares, maximum: over all values; all 0 when there are none.
        sketch: (bucket, count) pairs by rising bucket; the counts add up to `count` (as in DDSketch,
            Masson, Rim and Lee 2019, with a fixed base).
    """

    count: Count = 0
    sum: Annotated[float, Number(0.0)] = 0.0
    sum_of_squares: Annotated[float, Number(0.0, LIMITS.number**2)] = 0.0
    maximum: Annotated[float, Number(0.0)] = 0.0
    sketch: Annotated[tuple[Bucket, ...], Items(SKETCH_TOP - SKETCH_ZERO + 1)] = ()


@dataclass(frozen=True)
class Event:
    """Something decided or noticed, and why. `source` names a detector, an error or a version.

    Attributes:
        at: Unix seconds on the device's clock.
        kind: what happened.
        source: the detector, error or version it is about.
        detail: a line for people.
    """

    at: Moment
    kind: EventKind
    source: Annotated[str, Text(max_length=128)] = ""
    detail: Annotated[str, Text(max_length=256)] = ""


@dataclass(frozen=True)
class Resources:
    """What the process uses: resident bytes, CPU seconds and wall seconds since it started.

    Attributes:
        rss_bytes: resident memory.
        cpu_s: CPU seconds since the process started.
        uptime_s: wall seconds since the process started.
    """

    rss_bytes: Count = 0
    cpu_s: Annotated[float, Number(0.0)] = 0.0
    uptime_s: Annotated[float, Number(0.0)] = 0.0


@dataclass(frozen=True)
class Report:
    """One window of one device running one version.

    Losses are prequential: each labelled example is predicted before it is learnt from. They are per example,
    in the manifest's loss. The device is the statistical unit; it is known from the bearer token.

    Attributes:
        id: random; a service counts an id once, however often it comes. The content under an id never
            changes: a report that was sent once is never merged again.
        started_at, ended_at: Unix seconds on the device's clock, which may be wrong; their difference is
            measured and holds, unless windows were merged.
        release: what ran.
        counter: of the desired state that was obeyed; 0 before any.
        slot: where it ran from.
        windows: how many windows were merged into this one.
        predictions: predictions given to the application.
        mistakes: labelled examples predicted wrongly (classification).
        start_loss: of labelled examples that came while the start was in use; of 8 or more, else they wait
            for a later report.
        adapted_loss: of labelled examples that came while adapted parameters were in use, likewise.
        input_shift: distance of the inputs from those of training (see `drift.InputShift`).
        predict_us, adapt_us: wall time of one prediction and of one whole adaptation, in microseconds.
        steps: gradient steps taken.
        adaptations, kept_starts: adaptations that paid, and that did not.
        warnings, drifts, resets: how many.
        fallbacks: times the device fell back to an older version or the factory initialization.
        alarms: anomalies that began.
        clamped: inputs held at the edge of what training saw.
        refusals: calls and downloads refused, by error class name.
        events: the first `LIMITS.report_events`.
        events_dropped: how many more there were.
        resources: what the process uses.
        clock_offset_s: to be added to every time in this report to have it by the service's clock, as far as
            the device knew; 0 where it knew nothing.
    """

    id: Nonce
    started_at: Moment
    ended_at: Moment
    release: Release
    counter: Counter
    slot: Slot
    windows: Annotated[int, Number(1, 2**31 - 1)] = 1
    predictions: Count = 0
    mistakes: Count = 0
    start_loss: Summary = Summary()
    adapted_loss: Summary = Summary()
    input_shift: Summary = Summary()
    predict_us: Summary = Summary()
    adapt_us: Summary = Summary()
    steps: Count = 0
    adaptations: Count = 0
    kept_starts: Count = 0
    warnings: Count = 0
    drifts: Count = 0
    resets: Count = 0
    fallbacks: Count = 0
    clamped: Count = 0
    alarms: Count = 0
    refusals: Annotated[Mapping[str, Count], Items(32)] = field(default_factory=dict)
    events: Annotated[tuple[Event, ...], Items(LIMITS.report_events)] = ()
    events_dropped: Count = 0
    resources: Resources = Resources()
    clock_offset_s: Annotated[float, Number(-LIMITS.time_s[1], LIMITS.time_s[1])] = 0.0


@dataclass(frozen=True)
class ReportBatch:
    """What a device posts: one or more reports, oldest first.

    Attributes:
        reports: at most `LIMITS.batch_reports`.
        start: of the agent that posts; None from an agent that does not tell.
    """

    reports: Annotated[tuple[Report, ...], Items(LIMITS.batch_reports)]
    start: Start | None = None
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Refusal:
    """A report the service will never take, and why: the device drops it and counts that.

    Attributes:
        id: of the report.
        detail: why.
    """

    id: Nonce
    detail: Prose


@dataclass(frozen=True)
class Receipt:
    """The answer, given only once the accepted reports are durable; known ids are accepted again.

    Attributes:
        accepted: ids that are durable now.
        refused: reports that will never be taken.
    """

    accepted: Annotated[tuple[Nonce, ...], Items(LIMITS.batch_reports)]
    refused: Annotated[tuple[Refusal, ...], Items(LIMITS.batch_reports)] = ()
    schema: Literal[1] = 1
