"""What Prometheus sees. Labels are fleet, release and arm, never a device: the number of series must not grow
with the number of devices.

Two kinds: figures of this process (requests, commits), counted as they happen, and figures of the fleets,
read from the store's rows so that a report sent twice or a restart never counts anything twice.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from acclimate.rollout.domain.evidence import Decision, Observation
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.rollout.faults import Faults
from acclimate.rollout.store import Counts, Store

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUCKETS_REPORTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_RELEASE = ("fleet", "model", "version")
_ARM = (*_RELEASE, "arm")
_COUNTERS = {
    "reports": "reports stored",
    "examples": "labelled examples reported",
    "loss_sum": "sum of the losses of labelled examples",
    "adapted_examples": "labelled examples while adapted parameters were in use",
    "adapted_loss_sum": "sum of the losses of those",
    "predictions": "predictions given to applications",
    "adaptations": "adaptations that paid",
    "kept_starts": "adaptations that did not pay, so that the start was kept",
    "drifts": "drifts that devices detected",
    "fallbacks": "returns to an older version or to the factory initialization",
    "alarms": "anomalies that began",
    "refusals": "reports of a refused bundle or assignment",
}


class ServiceMetrics:
    """The figures of one process of the service."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.polls = Counter("acclimate_polls", "polls by outcome", ["fleet", "outcome"], registry=registry)
        self.requests = Counter(
            "acclimate_requests", "requests but polls", ["side", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "acclimate_request_seconds",
            "duration of requests but polls",
            ["side"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "acclimate_report_commit_seconds",
            "duration of a group commit",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.commit_reports = Histogram(
            "acclimate_report_commit_reports",
            "reports in a group commit",
            buckets=_BUCKETS_REPORTS,
            registry=registry,
        )
        self.waiting_reports = Gauge(
            "acclimate_reports_waiting", "reports received and not yet committed", registry=registry
        )
        self.contributions = Counter(
            "acclimate_contributions",
            "what devices gave to campaigns, by outcome",
            ["fleet", "outcome"],
            registry=registry,
        )
        self.alerts = Counter(
            "acclimate_alerts",
            "fleets that Alertmanager's firing alerts named, by whether a training started",
            ["outcome"],
            registry=registry,
        )
        self.background_failures = Counter(
            "acclimate_background_failures", "failed runs of background work", ["task"], registry=registry
        )
        self.refreshed_at = Gauge(
            "acclimate_roster_refreshed_timestamp_seconds",
            "when this process last took in the store's changes",
            registry=registry,
        )
        self.connections = Gauge("acclimate_connections", "open connections", registry=registry)
        self.connections_lost = Gauge(
            "acclimate_connections_cut",
            "connections refused or closed since the process started: too many, or too slow a request",
            ["reason"],
            registry=registry,
        )

    def watch(self, connections: Connections) -> None:
        """Show what the server counts of its connections."""
        self.connections.set_function(lambda: connections.open)
        self.connections_lost.labels("full").set_function(lambda: connections.refused)
        self.connections_lost.labels("slow").set_function(lambda: connections.timed_out)


class Connections(Protocol):
    """What a server counts of its connections."""

    open: int
    refused: int
    timed_out: int


class Collected:
    """Families that `read` finds, read at most once in `max_age_s` seconds.

    While reading fails, those found last are given: a database that is away must not take the figures of the
    process itself along.
    """

    def __init__(self, name: str, read: Callable[[], list[Metric]], max_age_s: float, faults: Faults) -> None:
        self._name, self._read, self._max_age_s, self._faults = name, read, max_age_s, faults
        self._families: list[Metric] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """The metric families, for a `CollectorRegistry`."""
        if time.monotonic() - self._read_at > self._max_age_s:
            self._read_at = time.monotonic()
            with self._faults.apart("exporter", self._name):
                self._families = self._read()
        yield from self._families

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not read the store."""
        return iter(())


def fault_metrics(faults: Faults) -> list[Metric]:
    """What failed apart from the rest: how often, and how much of it fails now."""
    counts = CounterMetricFamily(
        "acclimate_faults",
        "failures of one piece of work that left the others alone: a rollout, a fleet, an exporter",
        labels=["part"],
    )
    current = GaugeMetricFamily("acclimate_faults_now", "pieces of work that fail now", labels=["part"])
    failing = Tally(fault.part for fault in faults.current())
    for part, count in faults.counts().items():
        counts.add_metric([part], count)
        current.add_metric([part], failing[part])
    return [counts, current]


def fleet_metrics(store: Store, faults: Faults) -> list[Metric]:
    """Every fleet's devices, counters and latest rollout; a fleet that cannot be read leaves the others."""
    devices = GaugeMetricFamily("acclimate_devices", "devices enrolled", labels=["fleet"])
    doubled = GaugeMetricFamily(
        "acclimate_devices_doubled", "devices held because two machines use one identity", labels=["fleet"]
    )
    counts: list[Counts] = []
    rollouts: list[tuple[Rollout, list[Observation], Decision | None]] = []
    for fleet in store.fleets():
        with faults.apart("exporter", f"fleet {fleet.name}"):
            devices.add_metric([fleet.name], store.count_devices(fleet.name))
            doubled.add_metric([fleet.name], len(store.doubled_devices(fleet.name)))
            counts += store.counts(fleet.name)
            for rollout in store.rollouts(fleet.name)[:1]:
                decision = next(iter(store.decisions(rollout.id, limit=1)), None)
                # Arms are compared while the rollout lives; afterwards its result is on the version.
                observations = store.observations(rollout.id) if rollout.live else []
                rollouts.append((rollout, observations, decision))
    return [devices, doubled, *release_metrics(counts), *rollout_metrics(rollouts)]


def release_metrics(counts: list[Counts]) -> list[Metric]:
    """Counters by fleet and release, over all hours."""
    totals: dict[tuple[str, str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in counts:
        total = totals[row.fleet, row.release.name, str(row.release.version)]
        for name in _COUNTERS:
            total[name] += getattr(row, name)
    families: list[Metric] = []
    for name, help_text in _COUNTERS.items():
        family = CounterMetricFamily(f"acclimate_{name}", help_text, labels=_RELEASE)
        for labels, total in totals.items():
            family.add_metric(labels, total[name])
        families.append(family)
    return families


def rollout_metrics(rollouts: list[tuple[Rollout, list[Observation], Decision | None]]) -> list[Metric]:
    """Each fleet's latest rollout: its state, its arms and how far its evidence is."""
    state = GaugeMetricFamily(
        "acclimate_rollout_state", "1 for the state the rollout is in", labels=(*_RELEASE, "state")
    )
    wave = GaugeMetricFamily("acclimate_rollout_wave", "current wave", labels=_RELEASE)
    devices = GaugeMetricFamily("acclimate_rollout_devices", "devices that took part", labels=_ARM)
    loss = GaugeMetricFamily("acclimate_rollout_loss", "mean of devices' post-adaptation loss", labels=_ARM)
    rate = GaugeMetricFamily(
        "acclimate_rollout_device_share",
        "share of settled devices with an outcome",
        labels=(*_ARM, "outcome"),
    )
    bound = GaugeMetricFamily(
        "acclimate_gate_difference",
        "canary minus control: estimate and anytime-valid bounds",
        labels=(*_RELEASE, "gate", "bound"),
    )
    for rollout, observations, decision in rollouts:
        release = rollout.plan.release
        labels = [rollout.plan.fleet, release.name, str(release.version)]
        for one in State:
            state.add_metric([*labels, one.value], float(rollout.state is one))
        wave.add_metric(labels, rollout.wave)
        for arm in ("canary", "control"):
            part = [item for item in observations if item.arm == arm]
            if rollout.live:
                devices.add_metric([*labels, arm], len(part))
            losses = [item.loss for item in part if item.loss is not None]
            if losses:
                loss.add_metric([*labels, arm], sum(losses) / len(losses))
            settled = [item for item in part if item.order is not None]
            for outcome in ("failure", "silence", "fallback", "drift"):
                if settled:
                    share = sum(getattr(item, outcome) for item in settled) / len(settled)
                    rate.add_metric([*labels, arm, outcome], share)
        for gate in decision.evidence if decision else ():
            for name in ("lower", "difference", "upper"):
                value = getattr(gate, name)
                if value is not None:
                    bound.add_metric([*labels, gate.gate, name], value)
    return [state, wave, devices, loss, rate, bound]
