"""Rows to records and back. Times and numbers are columns; what is read whole is JSON through pydantic."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from acclimate.rollout.domain.evidence import Decision, GateEvidence, Observation
from acclimate.rollout.domain.fleet import Attributes, Baseline, Device, Fleet, Member
from acclimate.rollout.domain.plan import Plan
from acclimate.rollout.domain.rollout import OpenWave, Rollout, State

_BASELINES = TypeAdapter(tuple[Baseline, ...])
_PLAN = TypeAdapter(Plan)
_OPENED = TypeAdapter(tuple[OpenWave, ...])
_EVIDENCE = TypeAdapter(tuple[GateEvidence, ...])

Row = RowMapping


def _names(kind: type[Any], *without: str) -> list[str]:
    return [field.name for field in fields(kind) if field.name not in without]


names: Callable[..., list[str]] = functools.cache(_names)
"""A record's field names (all but those in `without`), which are its columns; read-only."""


def plain(record: Any, *without: str) -> dict[str, Any]:
    """A flat record as column values."""
    return {name: getattr(record, name) for name in names(type(record), *without)}


def fleet_values(fleet: Fleet) -> dict[str, Any]:
    return plain(fleet) | {"baselines": _BASELINES.dump_json(fleet.baselines).decode()}


def fleet_of(row: Row) -> Fleet:
    values = {name: row[name] for name in names(Fleet)}
    return Fleet(**values | {"baselines": _BASELINES.validate_json(row["baselines"])})


def device_values(device: Device) -> dict[str, Any]:
    return plain(device) | {"attributes": attributes_text(device.attributes)}


def device_of(row: Row) -> Device:
    values = {name: row[name] for name in names(Device)}
    return Device(**values | {"attributes": json.loads(row["attributes"])})


def member_of(row: Row) -> Member:
    return Member(
        id=row["id"],
        public_key=bytes.fromhex(row["public_key"]),
        attributes=_shared_attributes(row["attributes"]),
        revision=row["revision"],
        epoch=row["epoch"],
        retired=row["retired_at"] is not None,
        doubled=row["doubled_at"] is not None,
    )


def attributes_text(attributes: Attributes) -> str:
    """Equal attributes give equal texts."""
    return json.dumps(dict(attributes), sort_keys=True, separators=(",", ":"))


@functools.lru_cache(maxsize=65_536)
def _shared_attributes(text: str) -> Mapping[str, Any]:
    result: Mapping[str, Any] = json.loads(text)
    return result


def rollout_values(rollout: Rollout) -> dict[str, Any]:
    return plain(rollout) | {
        "fleet": rollout.plan.fleet,
        "plan": _PLAN.dump_json(rollout.plan).decode(),
        "state": rollout.state.value,
        "opened": _OPENED.dump_json(rollout.opened).decode(),
    }


def rollout_of(row: Row) -> Rollout:
    values = {name: row[name] for name in names(Rollout)}
    return Rollout(
        **values
        | {
            "plan": _PLAN.validate_json(row["plan"]),
            "state": State(row["state"]),
            "opened": _OPENED.validate_json(row["opened"]),
        }
    )


def decision_values(decision: Decision) -> dict[str, Any]:
    return plain(decision) | {
        "evidence": _EVIDENCE.dump_json(decision.evidence).decode(),
        "facts": json.dumps(dict(decision.facts)),
    }


def decision_of(row: Row) -> Decision:
    values = {name: row[name] for name in names(Decision)}
    return Decision(
        **values | {"evidence": _EVIDENCE.validate_json(row["evidence"]), "facts": json.loads(row["facts"])}
    )


def observation_of(row: Row) -> Observation:
    return Observation(**{name: row[name] for name in names(Observation)})
