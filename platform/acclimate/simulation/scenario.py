"""A scenario: a fleet, what happens to it, and what is rolled out to it. Everything random follows its seed.

Durations are seconds, or text such as `90s`, `10min`, `6h` and `7d`; shares are parts of the fleet.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from acclimate.rollout.bodies import PlanBody
from acclimate.rollout.wave_text import parse_waves
from acclimate_device import OnlinePolicy
from acclimate_device.drift import InputShift

_UNITS_S = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_GATEWAYS = {"pending", "report_s", "save_s", "trial_predictions", "trial_starts"}
"""What a policy says of a device that a microcontroller's gateway does for it."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|)")


def seconds(value: Any) -> Any:
    """Seconds of `value`, where it is text with a unit."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("write seconds, or a number with s, min, h or d, as in 10min")
    return float(match[1]) * _UNITS_S[match[2]]


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
Span = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Part of a scenario: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamSection(Section):
    """What the devices' sensors record."""

    source: str = Field(
        default="gestures", description="`gestures` (generated), a named data set, or the folder of a pool"
    )
    options: dict[str, Any] = Field(default={}, description="arguments of a named data set")
    tasks: tuple[str, ...] = Field(
        default=(), description="tasks to be devices of, by name or pattern; all of them if left out"
    )
    order: Literal["time", "interleaved", "rounds"] = Field(
        default="time",
        description="`interleaved` takes labels that were recorded in blocks in turn, each in time order; "
        "`rounds` ends when the first label has run out, so that every round has them all",
    )
    every: Span = Field(default=60.0, description="time between two examples of a device")


class ArrivalSection(Section):
    """When devices are switched on for the first time."""

    over: Duration = Field(default=0.0, description="the last device arrives after this long")
    pattern: Literal["even", "random"] = Field(default="even", description="evenly spread, or at random")


class OfflineSection(Section):
    """Spells without network; the device goes on working."""

    share: Share = Field(default=0.0, description="devices that have such spells")
    every: Span = Field(default=86_400.0, description="mean time between two spells")
    lasts: Span = Field(default=3_600.0, description="mean length of a spell")


class NetworkSection(Section):
    """What happens to single requests."""

    refused: Share = Field(default=0.0, description="requests that never arrive")
    lost: Share = Field(default=0.0, description="requests that are served, but whose answer is lost")
    cut: Share = Field(default=0.0, description="downloads of which only a part arrives")


class ClockSection(Section):
    """Devices' clocks."""

    skew: Duration = Field(default=0.0, description="standard deviation of how far a clock is off")
    drift_ppm: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="standard deviation of how much faster it runs, in millionths"
    )


class LabelSection(Section):
    """Which predictions are ever labelled, and when."""

    share: Share = Field(default=1.0, description="predictions that get a label at all")
    delay: Duration = Field(default=0.0, description="mean time until the label arrives; 0 for at once")


class DriftSection(Section):
    """The inputs change. Leave `at` out to begin it by name, as a program does."""

    name: str = Field(description="how events and figures call it")
    kind: Literal["other-task", "scale", "offset", "rotation", "dead-channel"] = Field(
        description="`other-task` is real: the device goes on as another task of its group (the other arm)"
    )
    at: Duration | None = Field(default=None, description="when it begins")
    share: Share = Field(default=1.0, description="devices it happens to")
    over: Duration = Field(default=0.0, description="how long it takes to reach its size")
    size: float = Field(
        default=2.0,
        description="factor (scale), deviations of a channel (offset), degrees (rotation), channels (dead)",
    )


class FaultSection(Section):
    """Devices that fail."""

    kind: Literal["restart", "power-cut", "worn-flash", "dead-sensor", "mute"] = Field(
        description="`power-cut` falls into a write; `worn-flash` flips a bit; `mute` never reports again"
    )
    share: Share = Field(description="devices it happens to")
    at: Duration = Field(default=0.0, description="not before this")
    every: Span = Field(default=86_400.0, description="mean time between two of them")


class RolloutSection(Section):
    """A version that is rolled out, by the real gates."""

    at: Duration = Field(description="when it is started")
    version: Count = Field(description="its number; the factory's bundle is the first")
    behaviour: Literal["good", "harmful", "broken"] = Field(
        default="good",
        description="`harmful` loads but cannot be adapted; `broken` fails the check every device makes; "
        "without effect on versions that are published already",
    )
    waves: str = Field(
        default="10%:0s, 50%:0s, 100%:0s", description="as in `acclimate rollout plan --waves`"
    )
    min_devices: Count = Field(default=5, description="outcomes each wave needs")
    plan: dict[str, Any] = Field(default={}, description="any further part of the plan, such as `gates`")

    @model_validator(mode="after")
    def _plans(self) -> RolloutSection:
        try:
            self.body("name:1")
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"plan.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except Exception as error:
            raise ValueError(str(error)) from None
        return self

    def body(self, release: str) -> PlanBody:
        """The plan to post for `release`."""
        waves = [
            {"share": one.share, "count": one.count, "duration_s": one.duration_s, "approval": one.approval}
            | {"min_devices": self.min_devices}
            for one in parse_waves(self.waves)
        ]
        return PlanBody.model_validate({"release": release, "waves": waves, **self.plan})


class ServiceSection(Section):
    """The rollout service."""

    poll: Annotated[Span, Field(ge=1, le=86_400)] = Field(
        default=60.0, description="time between polls, and of one report"
    )
    tick: Span = Field(default=60.0, description="time between the controller's looks, on a simulated clock")


class Scenario(Section):
    """One fleet and its story."""

    name: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$", description="of its fleet, too")
    description: str = Field(default="", description="a line for people")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="of everything random")
    devices: Count = Field(default=50, description="how many")
    microcontrollers: Share = Field(
        default=0.0,
        description="devices that are the C runtime, compiled for this machine, each behind a gateway; the "
        "others are the SDK",
    )
    clock: Literal["simulated", "wall"] = Field(
        default="simulated",
        description="`simulated`: the service in this process, as fast as it goes, the same bits every time; "
        "`wall`: a service of its own over HTTP, in real time",
    )
    duration: Span = Field(default=3_600.0, description="from the first arrival to the end")
    threads: Count = Field(default=4, description="that run the devices on the wall clock")
    stream: StreamSection = StreamSection()
    arrivals: ArrivalSection = ArrivalSection()
    offline: OfflineSection = OfflineSection()
    network: NetworkSection = NetworkSection()
    clocks: ClockSection = ClockSection()
    labels: LabelSection = LabelSection()
    policy: dict[str, Any] = Field(default={}, description="of the devices, over OnlinePolicy's defaults")
    input_shift: dict[str, Any] = Field(default={}, description="of the devices, over InputShift's defaults")
    drifts: tuple[DriftSection, ...] = ()
    faults: tuple[FaultSection, ...] = ()
    rollouts: tuple[RolloutSection, ...] = ()
    service: ServiceSection = ServiceSection()

    @field_validator("policy")
    @classmethod
    def _policy(cls, given: dict[str, Any]) -> dict[str, Any]:
        known = [one.name for one in fields(OnlinePolicy)]
        if unknown := sorted(given.keys() - known):
            raise ValueError(f"OnlinePolicy has no {unknown[0]!r}: known are {', '.join(known)}")
        try:
            TypeAdapter(OnlinePolicy).validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ValueError(f"{key}: {first['msg']}" if key else first["msg"]) from None
        return given

    @field_validator("input_shift")
    @classmethod
    def _input_shift(cls, given: dict[str, Any]) -> dict[str, Any]:
        try:
            InputShift(**given)
        except (TypeError, ValueError) as error:
            raise ValueError(str(error)) from None
        return given

    @model_validator(mode="after")
    def _fits(self) -> Scenario:
        if self.microcontrollers and (given := sorted({*self.policy, *self.input_shift} - _GATEWAYS)):
            raise ValueError(
                f"microcontrollers decide as the SDK does by default and take no {given[0]}: leave out "
                "that, or microcontrollers"
            )
        names = [drift.name for drift in self.drifts]
        if len(set(names)) != len(names):
            raise ValueError(f"drifts repeat a name ({', '.join(names)}): give each its own")
        versions = [rollout.version for rollout in self.rollouts]
        if len(set(versions)) != len(versions):
            raise ValueError(f"rollouts repeat a version ({versions}): give each its own")
        for rollout in self.rollouts:
            if rollout.at >= self.duration:
                raise ValueError(
                    f"version {rollout.version} is rolled out at {rollout.at:g} s, after the end at "
                    f"{self.duration:g} s: start it earlier, or let the scenario last longer"
                )
        return self
