"""What came of a simulation: every device's reports over time, and figures made of them.

Reports are kept as the devices made them, so the figures do not depend on what reached the service; `counted`
is what the service says, to hold against them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acclimate.simulation.events import Happening
from acclimate_device.protocol import Release, Report, write

_MEASURED = ("predict_us", "adapt_us", "resources")
"""Wall time and memory: of this machine, not of the seed."""


RolloutChange = tuple[float, int, str, int, str]
"""Seconds after the start, version, state, wave, reason."""


@dataclass(frozen=True)
class Window:
    """The fleet, or some devices of it, during one stretch of time.

    Attributes:
        at: middle, seconds after the start.
        devices: that reported.
        loss, adapted_loss, start_loss: means over examples, None without any: all, those predicted by adapted
            parameters, and those by the start.
        mistakes: share of labelled examples that were predicted wrongly (classification).
        drifts: drifts that devices detected.
        versions: reports by version.
    """

    at: float
    devices: int
    examples: int
    loss: float | None
    adapted_loss: float | None
    start_loss: float | None
    mistakes: float | None
    drifts: int
    versions: Mapping[int, int]


@dataclass(frozen=True)
class Detection:
    """What a device made of a drift that really began.

    Attributes:
        delay_s: until it detected a drift; None if it never did.
        delay_examples: labelled examples it saw until then, by its reports.
        loss_before, loss_after: means over the reports before the drift, and after it was detected (or, where
            it never was, after it began).
    """

    device: int
    drift: str
    delay_s: float | None
    delay_examples: int
    loss_before: float | None
    loss_after: float | None


@dataclass
class DeviceOutcome:
    """One device's story.

    Attributes:
        reports: in the order in which it closed them, with the true time of each.
        begun: when each real drift began, Unix seconds.
        waiting: reports that were still on the device at the end.
        runs, slot: at the end; None for a device that failed for good.
    """

    number: int
    device_id: str = ""
    task: str = ""
    reports: list[tuple[float, Report]] = field(default_factory=list)
    begun: dict[str, float] = field(default_factory=dict)
    waiting: int = 0
    runs: Release | None = None
    slot: str = ""
    adapted: bool = False


@dataclass
class Outcome:
    """A simulation's result.

    Attributes:
        acknowledged: reports that the service accepted in receipts that reached their device.
        counted: what the service has: `reports`, and sums by `Report` field names.
        rollouts: at each change of one.
    """

    scenario: str
    seed: int
    started_at: float
    duration_s: float = 0.0
    devices: list[DeviceOutcome] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    counted: dict[str, float] = field(default_factory=dict)
    rollouts: list[RolloutChange] = field(default_factory=list)
    acknowledged: int = 0
    requests: int = 0

    def made(self) -> dict[str, float]:
        """What the devices closed windows of, in the words of `counted`; a power cut may take a window."""
        reports = [report for device in self.devices for _, report in device.reports]
        return {
            "examples": sum(one.start_loss.count + one.adapted_loss.count for one in reports),
            "loss_sum": sum(one.start_loss.sum + one.adapted_loss.sum for one in reports),
            "predictions": sum(one.predictions for one in reports),
            "adaptations": sum(one.adaptations for one in reports),
            "kept_starts": sum(one.kept_starts for one in reports),
            "drifts": sum(one.drifts for one in reports),
            "fallbacks": sum(one.fallbacks for one in reports),
        }

    def windows(self, width_s: float, devices: Iterable[int] | None = None) -> list[Window]:
        """Figures of all or some devices, by stretches of `width_s` seconds; empty stretches are left out."""
        chosen = None if devices is None else set(devices)
        # what closes at the very end belongs to the last stretch
        last = max(math.ceil(self.duration_s / width_s) - 1, 0) if self.duration_s else math.inf
        bins: dict[int, list[tuple[int, Report]]] = {}
        for device in self.devices:
            if chosen is None or device.number in chosen:
                for at, report in device.reports:
                    place = int(min((at - self.started_at) / width_s, last))
                    bins.setdefault(place, []).append((device.number, report))
        return [_window((place + 0.5) * width_s, held) for place, held in sorted(bins.items())]

    def detections(self) -> list[Detection]:
        """Every real drift of every device, and what the device made of it."""
        return [
            _detection(device, name, began)
            for device in self.devices
            for name, began in sorted(device.begun.items(), key=lambda pair: pair[1])
        ]

    def false_alarms(self) -> int:
        """Drifts that devices detected before any began."""
        return sum(
            report.drifts
            for device in self.devices
            for at, report in device.reports
            if at < min(device.begun.values(), default=float("inf"))
        )

    def versions(self) -> dict[str, int]:
        """Devices at the end by what they run; `failed` for those that stopped."""
        counts: dict[str, int] = {}
        for device in self.devices:
            name = f"{device.runs.name}@{device.runs.version}" if device.runs else "failed"
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    def digest(self) -> str:
        """SHA-256 of all that follows from the seed: events, reports and rollouts, without measured times."""
        sha = hashlib.sha256()
        for one in self.happenings:
            sha.update(repr((one.at, one.device, one.kind, one.detail)).encode())
            if one.report is not None:
                values: Any = write(one.report)
                sha.update(repr({key: values[key] for key in values if key not in _MEASURED}).encode())
        sha.update(repr((self.rollouts, self.versions(), self.counted)).encode())
        return sha.hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON types, without the single reports."""
        width = max(self.duration_s / 48, 1.0)
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "duration_s": self.duration_s,
            "devices": len(self.devices),
            "made": self.made(),
            "counted": self.counted,
            "versions": self.versions(),
            "rollouts": [list(one) for one in self.rollouts],
            "windows": [vars(one) | {"versions": dict(one.versions)} for one in self.windows(width)],
            "detections": [vars(one) for one in self.detections()],
            "false_alarms": self.false_alarms(),
            "acknowledged": self.acknowledged,
            "requests": self.requests,
            "digest": self.digest(),
        }


def mean_loss(reports: Sequence[Report]) -> float | None:
    """Over all labelled examples; None without any."""
    count = sum(one.start_loss.count + one.adapted_loss.count for one in reports)
    return sum(one.start_loss.sum + one.adapted_loss.sum for one in reports) / count if count else None


def _window(at: float, held: Sequence[tuple[int, Report]]) -> Window:
    reports = [report for _, report in held]
    start = sum(one.start_loss.count for one in reports)
    adapted = sum(one.adapted_loss.count for one in reports)
    versions: dict[int, int] = {}
    for one in reports:
        versions[one.release.version] = versions.get(one.release.version, 0) + 1
    return Window(
        at=at,
        devices=len({number for number, _ in held}),
        examples=start + adapted,
        loss=mean_loss(reports),
        adapted_loss=sum(one.adapted_loss.sum for one in reports) / adapted if adapted else None,
        start_loss=sum(one.start_loss.sum for one in reports) / start if start else None,
        mistakes=sum(one.mistakes for one in reports) / (start + adapted) if start + adapted else None,
        drifts=sum(one.drifts for one in reports),
        versions=versions,
    )


def _detection(device: DeviceOutcome, name: str, began: float) -> Detection:
    before = [report for at, report in device.reports if at <= began]
    after = [(at, report) for at, report in device.reports if at > began]
    found, detected = len(after), None
    for place, (at, report) in enumerate(after):
        later = [one for one in _drift_times(at, report) if one >= began]
        if later:
            found, detected = place + 1, later[0]
            break
    return Detection(
        device=device.number,
        drift=name,
        delay_s=None if detected is None else detected - began,
        delay_examples=sum(one.start_loss.count + one.adapted_loss.count for _, one in after[:found]),
        loss_before=mean_loss(before),
        loss_after=mean_loss([report for _, report in (after if detected is None else after[found:])]),
    )


def _drift_times(at: float, report: Report) -> list[float]:
    """True times of the detected drifts: the device's clock is off, but by as much at the report's end."""
    return [at - (report.ended_at - event.at) for event in report.events if event.kind == "drift"]
