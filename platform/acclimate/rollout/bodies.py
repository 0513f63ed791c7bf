"""What people send the service: the domain's own records, read strictly at this border.

Pydantic alone, so that a simulation or a client can write a plan without the web framework.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    create_model,
    field_validator,
)

from acclimate.rollout.domain.fleet import FLEET_NAME, MOST_DEVICES, MOST_ENROLMENTS
from acclimate.rollout.domain.plan import DEFAULT_GATES, Gate, Plan, Wave
from acclimate_device.protocol import LIMITS, Release

NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"
WORDS = {
    FLEET_NAME: "a fleet's name has at most 63 lower-case letters and digits, and hyphens between them",
    NO_CONTROL: "it takes no line breaks or other control characters",
    IDENTIFIER: "an id has letters, digits, and . _ : - between them",
}
"""What a pattern asks for, for people."""
FleetName = Annotated[str, StringConstraints(pattern=FLEET_NAME)]
Line = Annotated[str, StringConstraints(max_length=500, pattern=NO_CONTROL)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_CONTROL)]
Target = Annotated[str, StringConstraints(max_length=2000, pattern=NO_CONTROL)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=260, pattern=NO_CONTROL)]
Seconds = Annotated[float, Field(ge=0, le=10 * 365 * 86_400)]
Attribute = (
    bool
    | Annotated[int, Field(ge=1 - 2**53, le=2**53 - 1)]
    | Annotated[float, Field(ge=-LIMITS.number, le=LIMITS.number)]
    | Line
)
Attributes = Annotated[dict[Title, Attribute], Field(max_length=64)]


class Strict(BaseModel):
    """A body in which an unknown key is a mistake, not a wish, and true is no number."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_by_accident(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and not _takes_bool(cls.model_fields[info.field_name or ""].annotation):
            raise ValueError(f"{str(value).lower()} does not fit: another kind of value is expected")
        return value


def _takes_bool(annotation: Any) -> bool:
    return annotation is bool or any(map(_takes_bool, get_args(annotation)))


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
    device_quota: Annotated[int, Field(ge=0, le=MOST_DEVICES)] = 1_000_000


class FleetChange(Strict):
    """What may change about a fleet."""

    poll_interval_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    device_quota: Annotated[int, Field(ge=0, le=MOST_DEVICES)] | None = None


class BaselineBody(Strict):
    """What devices run without a rollout: for the first release of a fleet."""

    release: Reference
    target: Target = ""


class EnrolmentTokenBody(Strict):
    """A token that lets devices in, each once."""

    quota: Annotated[int, Field(ge=1, le=MOST_ENROLMENTS)] = 1
    lifetime_s: Seconds = 7 * 86_400


class ApiTokenBody(Strict):
    """A token for an operator or a program."""

    name: Title
    role: Literal["viewer", "operator", "admin"]
    fleet: FleetName | None = None
    lifetime_s: Seconds | None = None


class PlanBody(Strict):
    """A rollout to plan; what is left out takes the plan's defaults, waves those that fit the devices.

    `despite_harm` plans a release again that gates have rolled back in the fleet before.
    """

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
    despite_harm: bool = False

    def plan(self, fleet: str, release: Release) -> Plan:
        """The domain's plan; without waves where none are named."""
        given = self.model_dump(exclude={"release", "waves", "gates", "despite_harm"})
        waves = tuple(Wave(**one.model_dump()) for one in self.waves or ())
        gates = DEFAULT_GATES if self.gates is None else tuple(Gate(**one.model_dump()) for one in self.gates)
        return Plan(fleet=fleet, release=release, waves=waves, gates=gates, **given)


class OperationBody(Strict):
    """Why a rollout is operated."""

    reason: Line = ""
