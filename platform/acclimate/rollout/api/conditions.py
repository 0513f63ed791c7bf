"""What alerts watch beside the fleets' counters: who was heard of, retraining, and when signatures end.

Read from the store and from files, seldom: none of it changes within minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Metadata

from acclimate.rollout.faults import Faults
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import Store

WINDOW_S = 86_400.0
_ENDS = ("retraining.done", "retraining.fail")


def conditions(
    store: Store, settings: ServiceSettings, clock: Callable[[], float], faults: Faults
) -> list[Metric]:
    """All families of this module that can be read, as they are now."""
    parts: dict[str, Callable[[], Iterable[Metric]]] = {
        "devices": lambda: heard_of(store, clock()),
        "retraining": lambda: [retraining(store)],
        "signatures": lambda: [signatures(settings.tuf)],
        "certificate": lambda: [certificate(settings.tls_certificate)],
    }
    found: list[Metric] = []
    for name, read in parts.items():
        with faults.apart("exporter", name):
            found += read()
    return found


def heard_of(store: Store, now: float) -> Iterable[Metric]:
    """By fleet, the devices that reported within the last day, and those of them that noticed drift."""
    reporting = GaugeMetricFamily(
        "acclimate_devices_reporting", "devices that reported within the last day", labels=["fleet"]
    )
    drifted = GaugeMetricFamily(
        "acclimate_devices_drifted", "of these, devices that noticed drift", labels=["fleet"]
    )
    for fleet in store.fleets():
        found = store.drifted(fleet.name, None, now - WINDOW_S)
        reporting.add_metric([fleet.name], found.devices)
        drifted.add_metric([fleet.name], found.drifted)
    return reporting, drifted


def retraining(store: Store) -> Metric:
    """By fleet, whether the last training that drift, an alert or a person asked for failed."""
    failed = GaugeMetricFamily(
        "acclimate_retraining_failed", "1 if the fleet's last retraining failed, else 0", labels=["fleet"]
    )
    for fleet in store.fleets():
        for last in store.audit(fleet=fleet.name, actions=_ENDS, limit=1):
            failed.add_metric([fleet.name], float(last.action == "retraining.fail"))
    return failed


def signatures(repository: Path) -> Metric:
    """By role of the TUF repository, when the first devices begin to refuse it: those of the tenant whose
    part of it ends soonest. Nothing where there is none yet."""
    expires = GaugeMetricFamily(
        "acclimate_signature_expires_timestamp_seconds",
        "when the signature of a role of the repository ends",
        labels=["role"],
    )
    parts = [repository / "metadata", *repository.glob("tenants/*/metadata")]
    for role in sorted(TOP_LEVEL_ROLE_NAMES):
        ends = [end for part in parts if (end := _end_of(part, role)) is not None]
        if ends:
            expires.add_metric([role], min(ends))
    return expires


def certificate(path: str) -> Metric:
    """When the certificate ends with which this process itself ends TLS; nothing where it does not."""
    expires = GaugeMetricFamily(
        "acclimate_certificate_expires_timestamp_seconds", "when the service's own TLS certificate ends"
    )
    if path:
        shown = x509.load_pem_x509_certificates(Path(path).read_bytes())[0]
        expires.add_metric([], shown.not_valid_after_utc.timestamp())
    return expires


def _end_of(metadata: Path, role: str) -> float | None:
    versions = list(metadata.glob(f"*{role}.json"))
    if not versions:
        return None
    newest: Metadata[Any] = Metadata.from_bytes(max(versions, key=_version).read_bytes())
    return float(newest.signed.expires.timestamp())


def _version(path: Path) -> int:
    """Of metadata files `12.root.json`; `timestamp.json` has none."""
    number = path.name.partition(".")[0]
    return int(number) if number.isdigit() else 0
