"""What the REST interface gives, and what its paths and queries take; bodies are in `rollout.bodies`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel

from acclimate.rollout.bodies import IDENTIFIER, NO_CONTROL
from acclimate.rollout.domain.access import ApiToken, ConsoleSession, EnrolmentToken
from acclimate.rollout.domain.assignment import Assignment
from acclimate.rollout.domain.evidence import Observation
from acclimate.rollout.domain.fleet import FLEET_NAME, Baseline, Device, Fleet
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout
from acclimate.rollout.releases import Published
from acclimate_device.protocol import Release

Identifier = Annotated[str, Path(max_length=128, pattern=IDENTIFIER)]
FleetPath = Annotated[str, Path(pattern=FLEET_NAME)]
Search = Annotated[str, Query(max_length=128, pattern=NO_CONTROL)]


class ReleaseAnswer(BaseModel):
    """A published bundle."""

    name: str
    version: int
    content_hash: str
    learner: str
    parameters: int
    file_bytes: int
    run_id: str

    @staticmethod
    def of(one: Published) -> ReleaseAnswer:
        """The answer for a published bundle."""
        release, manifest = one.release, one.manifest
        return ReleaseAnswer(
            name=release.name,
            version=release.version,
            content_hash=release.content_hash,
            learner=manifest.learner,
            parameters=manifest.cost.parameters,
            file_bytes=manifest.cost.file_bytes,
            run_id=manifest.run_id,
        )


class FleetAnswer(BaseModel):
    """A fleet."""

    name: str
    created_at: float
    revision: int
    baselines: list[Baseline]
    poll_interval_s: float
    device_quota: int
    devices: int
    live_rollout: str | None

    @staticmethod
    def of(fleet: Fleet, devices: int, live: Rollout | None) -> FleetAnswer:
        """The answer for a fleet."""
        shown = {name: getattr(fleet, name) for name in FleetAnswer.model_fields if hasattr(fleet, name)}
        return FleetAnswer(**shown, devices=devices, live_rollout=live.id if live else None)


class DeviceAnswer(BaseModel):
    """A device, what it should do, and when it last reported (by the service's clock)."""

    fleet: str
    id: str
    hardware_id: str
    public_key: str
    attributes: dict[str, Any]
    sdk: str
    enrolled_at: float
    retired_at: float | None
    doubled_at: float | None
    doubled: str
    assignment: Assignment | None
    reported_at: float | None
    running: Release | None

    @staticmethod
    def of(device: Device, assignment: Assignment | None, report: ReportRecord | None) -> DeviceAnswer:
        """The answer for a device and its last report."""
        shown = {name: getattr(device, name) for name in DeviceAnswer.model_fields if hasattr(device, name)}
        shown["attributes"] = dict(device.attributes)
        running = Release(report.name, report.version, report.content_hash) if report else None
        reported_at = report.received_at if report else None
        return DeviceAnswer(**shown, assignment=assignment, reported_at=reported_at, running=running)


class RolloutSummary(BaseModel):
    """A rollout and what can be done to it."""

    rollout: Rollout
    operations: list[str]


class RolloutAnswer(RolloutSummary):
    """A rollout, what can be done to it, and the devices seen in each arm."""

    canary_devices: int
    control_devices: int
    settled_devices: int

    @staticmethod
    def of(rollout: Rollout, names: list[str], observations: Sequence[Observation]) -> RolloutAnswer:
        """The answer for a rollout."""
        arms = [observation.arm for observation in observations]
        return RolloutAnswer(
            rollout=rollout,
            operations=names,
            canary_devices=arms.count("canary"),
            control_devices=arms.count("control"),
            settled_devices=sum(observation.order is not None for observation in observations),
        )


class ApiTokenAnswer(BaseModel):
    """An API token; `token` is there only in the answer that made it."""

    id: str
    name: str
    role: str
    fleet: str | None
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None
    token: str | None = None

    @staticmethod
    def of(kept: ApiToken, token: str | None = None) -> ApiTokenAnswer:
        """The answer for a token; never its hash."""
        shown = {name: getattr(kept, name) for name in ApiTokenAnswer.model_fields if hasattr(kept, name)}
        return ApiTokenAnswer(**shown, token=token)


class EnrolmentTokenAnswer(BaseModel):
    """An enrolment token; `token` is there only in the answer that made it."""

    id: str
    fleet: str
    quota: int
    used: int
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None
    token: str | None = None

    @staticmethod
    def of(kept: EnrolmentToken, token: str | None = None) -> EnrolmentTokenAnswer:
        """The answer for a token; never its hash."""
        names = EnrolmentTokenAnswer.model_fields
        shown = {name: getattr(kept, name) for name in names if hasattr(kept, name)}
        return EnrolmentTokenAnswer(**shown, token=token)


class SessionAnswer(BaseModel):
    """Somebody who is signed in to the console."""

    id: str
    subject: str
    name: str
    role: str
    fleet: str | None
    opened_at: float
    expires_at: float

    @staticmethod
    def of(kept: ConsoleSession) -> SessionAnswer:
        """The answer for a session, by the beginning of its hash."""
        shown = {name: getattr(kept, name) for name in SessionAnswer.model_fields}
        return SessionAnswer(**shown | {"id": kept.id[:12]})


class WhoAmI(BaseModel):
    """Whose token this is."""

    id: str
    name: str
    role: str
    fleet: str | None
