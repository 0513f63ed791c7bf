"""Fleets, plans and reports for tests of the rollout service: one line each where a test needs one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from acclimate.rollout.domain.fleet import Device, Fleet
from acclimate.rollout.domain.plan import Gate, Plan, Wave
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout
from acclimate_device.protocol import Release

OLD = Release("gait", 1, "a" * 64)
NEW = Release("gait", 2, "b" * 64)
NOW = 1_800_000_000.0


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
