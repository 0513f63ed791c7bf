"""Fleets, plans and reports for tests of the rollout service: one line each where a test needs one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.evidence import Decision, GateEvidence, Verdict
from acclimate.rollout.domain.fleet import Device, Fleet
from acclimate.rollout.domain.plan import Gate, Plan, Wave
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout
from acclimate.rollout.store import Store
from acclimate_device.protocol import Release

OLD = Release("gait", 1, "a" * 64)
NEW = Release("gait", 2, "b" * 64)
NOW = 1_800_000_000.0
EVIDENCE = GateEvidence(
    "loss", Verdict.PASS, "mean loss is 0.1 lower", 0.05, 30, 30, 0.4, 0.5, -0.1, -0.2, 0.0, 1.5
)


def a_fleet(name: str = "home", **fields: Any) -> Fleet:
    return Fleet(name=name, created_at=NOW, **fields)


def a_device(number: int, fleet: str = "home", **fields: Any) -> Device:
    return Device(
        fleet=fleet, id=f"device-{number:05d}", public_key=f"{number:064x}", enrolled_at=NOW, **fields
    )


def a_plan(fleet: str = "home", **fields: Any) -> Plan:
    plan = Plan(
        fleet=fleet,
        release=NEW,
        waves=(Wave(share=0.2), Wave(share=1.0)),
        gates=(Gate("loss", tolerance=0.5, proof=True), Gate("failure")),
        control_share=0.2,
    )
    return replace(plan, **fields)


def a_rollout(rollout_id: str = "rollout-1", fleet: str = "home", **fields: Any) -> Rollout:
    return Rollout(id=rollout_id, plan=a_plan(fleet, **fields), created_at=NOW, created_by="ada")


def a_report(
    device: str, number: int, fleet: str = "home", release: Release = OLD, **fields: Any
) -> ReportRecord:
    record = ReportRecord(
        fleet=fleet,
        device=device,
        id=f"{number:032x}",
        received_at=NOW + number,
        started_at=NOW + number - 60,
        ended_at=NOW + number,
        counter=1,
        name=release.name,
        version=release.version,
        content_hash=release.content_hash,
        examples=10,
        loss_sum=5.0,
        adapted_examples=10,
        adapted_loss_sum=5.0,
        predictions=100,
        adaptations=1,
        latency_ms=0.5,
        payload="{}",
    )
    return replace(record, **fields)


def a_decision(action: str, at: float = NOW, **fields: object) -> Decision:
    return replace(Decision("rollout-1", at, action, "asked", "ada", 0), **fields)


def a_fleet_with(store: Store, devices: int = 0) -> None:
    store.add_fleet(a_fleet(), "ada")
    store.add_devices([a_device(number) for number in range(devices)], NOW, "ada")


def a_running(store: Store, now: float = NOW + 1) -> Rollout:
    """Start the sample rollout and open its first wave."""
    store.add_rollout(a_rollout(), "ada")
    store.step_rollout("rollout-1", lambda one, _: life.start(one, now), a_decision("start", now))
    return store.step_rollout(
        "rollout-1",
        lambda one, revision: life.open_wave(one, now, revision, 0.2, 0.2),
        a_decision("open", now),
    )


def lead(store: Store, holder: str = "one", now: float = NOW) -> int:
    lease = store.acquire_lease("controller", holder, now, 10.0)
    assert lease is not None
    return lease.token
