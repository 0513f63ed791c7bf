"""Merging reports: counts and sums add up, sketches add by bucket, only resolution in time is lost.

What would outgrow the protocol's bounds stays at them: the service would refuse more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TypeVar

from acclimate_device.protocol import LIMITS, Report, Summary

Key = TypeVar("Key", str, int)
MOST_WINDOWS = 2**31 - 1
REFUSAL_KINDS = 32
OTHER = "other"
_COUNTS = ("predictions", "mistakes", "steps", "adaptations", "kept_starts", "warnings", "drifts")
_MORE_COUNTS = ("resets", "fallbacks", "clamped", "alarms", "events_dropped")


def mergeable(one: Report, two: Report) -> bool:
    """Whether both speak of the same version, in the same slot, under the same assignment."""
    return (one.release, one.counter, one.slot) == (two.release, two.counter, two.slot)


def merge_reports(one: Report, two: Report, merged_id: str) -> Report:
    """Both reports as one, under a new id. `one` is the older; they must be `mergeable`."""
    events = one.events + two.events
    changes: dict[str, object] = {
        name: _added(getattr(one, name), getattr(two, name)) for name in (*_COUNTS, *_MORE_COUNTS)
    }
    changes["windows"] = min(one.windows + two.windows, MOST_WINDOWS)
    for field in fields(Report):
        value = getattr(one, field.name)
        if isinstance(value, Summary):
            changes[field.name] = merge_summaries(value, getattr(two, field.name))
    changes["refusals"] = _told_apart(_merged_counts(one.refusals, two.refusals))
    dropped = one.events_dropped + two.events_dropped
    changes["events_dropped"] = _added(dropped, max(0, len(events) - LIMITS.report_events))
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
    return Summary(
        _added(one.count, two.count),
        _short(min(one.sum + two.sum, LIMITS.number)),
        _short(min(one.sum_of_squares + two.sum_of_squares, LIMITS.number**2)),
        max(one.maximum, two.maximum),
        tuple(sorted(_merged_counts(dict(one.sketch), dict(two.sketch)).items())),
    )


def _told_apart(refusals: Mapping[str, int]) -> dict[str, int]:
    """At most as many kinds as a report holds; the rarest become `other`."""
    if len(refusals) <= REFUSAL_KINDS:
        return dict(refusals)
    ranked = sorted(refusals.items(), key=lambda item: (item[0] != OTHER, -item[1], item[0]))
    kept = dict(ranked[: REFUSAL_KINDS - 1])
    rest = sum(count for _, count in ranked[REFUSAL_KINDS - 1 :])
    return kept | {OTHER: _added(kept.get(OTHER, 0), rest)}


def _added(one: int, two: int) -> int:
    return min(one + two, LIMITS.count)


def _merged_counts(one: Mapping[Key, int], two: Mapping[Key, int]) -> dict[Key, int]:
    return {key: _added(one.get(key, 0), two.get(key, 0)) for key in {**one, **two}}


def _short(value: float) -> float:
    """Without the digits that adding rounded numbers makes up."""
    return float(f"{value:.7g}")
