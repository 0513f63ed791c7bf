"""What the REST interface takes and gives: the domain's own records, read strictly at this border."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_type_hints

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from acclimate.rollout.domain.access import ApiToken, EnrolmentToken
from acclimate.rollout.domain.assignment import Assignment
from acclimate.rollout.domain.evidence import Observation
from acclimate.rollout.domain.fleet import Baseline, Device, Fleet
from acclimate.rollout.domain.plan import DEFAULT_GATES, Gate, Plan, Wave
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import Rollout
from acclimate.rollout.releases import Published
from acclimate_device.protocol import Release

_NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
FleetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
Line = Annotated[str, StringConstraints(max_length=500, pattern=_NO_CONTROL)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_NO_CONTROL)]
Target = Annotated[str, StringConstraints(max_length=2000, pattern=_NO_CONTROL)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=260, pattern=_NO_CONTROL)]
Identifier = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
FleetPath = Annotated[str, Path(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
Search = Annotated[str, Query(max_length=128, pattern=_NO_CONTROL)]
Seconds = Annotated[float, Field(ge=0, le=10 * 365 * 86_400)]
Attribute = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | float | Line
Attributes = Annotated[dict[Title, Attribute], Field(max_length=64)]


class Strict(BaseModel):
    """A body in which an unknown key is a mistake, not a wish."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def strict(kind: type[Any], name: str) -> type[BaseModel]:
    """A body with a domain record's fields and defaults; its words describe the fields."""
    hints = get_type_hints(kind)
    required = dataclasses.MISSING
    fields: dict[str, Any] = {
        field.name: (hints[field.name], ... if field.default is required else field.default)
        for field in dataclasses.fields(kind)
    }
    return create_model(name, __base__=Strict, __doc__=kind.__doc__, **fields)


WaveBody: Any = strict(Wave, "WaveBody")
GateBody: Any = strict(Gate, "GateBody")


class FleetBody(Strict):
    """A new fleet."""

    name: FleetName
    poll_interval_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    device_quota: Annotated[int, Field(ge=0, le=100_000_000)] = 1_000_000


class FleetChange(Strict):
    """What may change about a fleet."""

    poll_interval_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    device_quota: Annotated[int, Field(ge=0, le=100_000_000)] | None = None


class BaselineBody(Strict):
    """What devices run without a rollout: for the first release of a fleet."""

    release: Reference
    target: Target = ""


class EnrolmentTokenBody(Strict):
    """A token that lets devices in, each once."""

    quota: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    lifetime_s: Seconds = 7 * 86_400


class ApiTokenBody(Strict):
    """A token for an operator or a program."""

    name: Title
    role: Literal["viewer", "operator", "admin"]
    fleet: FleetName | None = None
    lifetime_s: Seconds | None = None


class PlanBody(Strict):
    """A rollout to plan; what is left out takes the plan's defaults, waves those that fit the devices."""

    release: Reference
    target: Target = ""
    waves: Annotated[tuple[WaveBody, ...], Field(min_length=1, max_length=50)] | None = None
    gates: Annotated[tuple[GateBody, ...], Field(max_length=20)] | None = None
    control_share: float = 0.1
    alpha: float = 0.05
    soak_s: Seconds = 0.0
    silence_s: Seconds = 86_400.0
    min_examples: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    rollback_timeout_s: Seconds = 7 * 86_400.0

    def plan(self, fleet: str, release: Release) -> Plan:
        """The domain's plan; without waves where none are named."""
        given = self.model_dump(exclude={"release", "waves", "gates"})
        waves = tuple(Wave(**one.model_dump()) for one in self.waves or ())
        gates = DEFAULT_GATES if self.gates is None else tuple(Gate(**one.model_dump()) for one in self.gates)
        return Plan(fleet=fleet, release=release, waves=waves, gates=gates, **given)


class OperationBody(Strict):
    """Why a rollout is operated."""

    reason: Line = ""


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


class WhoAmI(BaseModel):
    """Whose token this is."""

    id: str
    name: str
    role: str
    fleet: str | None
