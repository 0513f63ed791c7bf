"""The part of a device's report that rollouts use, flat, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate_device import protocol


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """One report of one device; the device's own `id` makes it count once.

    Attributes:
        received_at: by the service's clock; `started_at` and `ended_at` are by the device's, set right
            by what it knew of the difference.
        counter: of the assignment the device obeyed.
        examples, loss_sum: labelled examples and their losses, with whatever parameters were in use.
        adapted_examples, adapted_loss_sum: those that came while adapted parameters were in use.
        alarms: anomalies that began.
        refused: a bundle or an assignment was refused.
        latency_ms: mean of the predictions; None when there were none.
        payload: the whole report as JSON, kept as long as the row.
        sequence: place in the order of commits; 0 until stored.
    """

    fleet: str
    device: str
    id: str
    received_at: float
    started_at: float
    ended_at: float
    counter: int
    name: str
    version: int
    content_hash: str
    examples: int = 0
    loss_sum: float = 0.0
    adapted_examples: int = 0
    adapted_loss_sum: float = 0.0
    predictions: int = 0
    adaptations: int = 0
    kept_starts: int = 0
    drifts: int = 0
    fallbacks: int = 0
    alarms: int = 0
    refused: bool = False
    latency_ms: float | None = None
    payload: str = ""
    sequence: int = 0


def _moment(at: float) -> float:
    """Within what calendars know, wherever an offset leads."""
    earliest, latest = protocol.LIMITS.time_s
    return min(max(at, earliest), latest)


def record(
    fleet: str, device: str, received_at: float, report: protocol.Report, payload: str = ""
) -> ReportRecord:
    """Flatten a wire report. `payload` is its JSON, if it is to be kept."""
    latency = report.predict_us
    return ReportRecord(
        fleet=fleet,
        device=device,
        id=report.id,
        received_at=received_at,
        started_at=_moment(report.started_at + report.clock_offset_s),
        ended_at=_moment(report.ended_at + report.clock_offset_s),
        counter=report.counter,
        name=report.release.name,
        version=report.release.version,
        content_hash=report.release.content_hash,
        examples=report.start_loss.count + report.adapted_loss.count,
        loss_sum=report.start_loss.sum + report.adapted_loss.sum,
        adapted_examples=report.adapted_loss.count,
        adapted_loss_sum=report.adapted_loss.sum,
        predictions=report.predictions,
        adaptations=report.adaptations,
        kept_starts=report.kept_starts,
        drifts=report.drifts,
        fallbacks=report.fallbacks,
        alarms=report.alarms,
        refused=any(event.kind == "refused" for event in report.events),
        latency_ms=latency.sum / latency.count / 1000 if latency.count else None,
        payload=payload,
    )
