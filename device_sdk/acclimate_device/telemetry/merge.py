"""Merging reports: counts and sums add up, sketches add by bucket, only resolution in time is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

from acclimate_device.protocol import LIMITS, Report, Summary

_COUNTS = ("windows", "predictions", "mistakes", "steps", "adaptations", "kept_starts", "warnings", "drifts")
_MORE_COUNTS = ("resets", "fallbacks", "events_dropped")


def mergeable(one: Report, two: Report) -> bool:
    """Whether both speak of the same version, in the same slot, under the same assignment."""
    return (one.release, one.counter, one.slot) == (two.release, two.counter, two.slot)


def merge_reports(one: Report, two: Report, merged_id: str) -> Report:
    """Both reports as one, under a new id. `one` is the older; they must be `mergeable`."""
    events = one.events + two.events
    changes: dict[str, object] = {
        name: getattr(one, name) + getattr(two, name) for name in (*_COUNTS, *_MORE_COUNTS)
    }
    for field in fields(Report):
        value = getattr(one, field.name)
        if isinstance(value, Summary):
            changes[field.name] = merge_summaries(value, getattr(two, field.name))
    changes["refusals"] = dict(Counter(one.refusals) + Counter(two.refusals))
    changes["events_dropped"] = (
        one.events_dropped + two.events_dropped + max(0, len(events) - LIMITS.report_events)
    )
    return replace(
        two,
        id=merged_id,
        started_at=min(one.started_at, two.started_at),
        ended_at=max(one.ended_at, two.ended_at),
        events=events[: LIMITS.report_events],
        **changes,  # type: ignore[arg-type]  # names and values come from the fields themselves
    )


def merge_summaries(one: Summary, two: Summary) -> Summary:
    """The summary of all numbers of both."""
    buckets = Counter(dict(one.sketch))
    buckets.update(dict(two.sketch))
    return Summary(
        one.count + two.count,
        one.sum + two.sum,
        one.sum_of_squares + two.sum_of_squares,
        max(one.maximum, two.maximum),
        tuple(sorted(buckets.items())),
    )
