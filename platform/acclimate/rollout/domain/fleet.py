"""Who is in a fleet and what each device runs when no rollout concerns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from acclimate_device.protocol import Release

FLEET_NAME = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
"""Part of a label, an address and a file's name: at most 63 lower-case letters, digits and inner hyphens."""
MOST_DEVICES = 100_000_000
MOST_ENROLMENTS = 1_000_000

AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What devices matching `target` run outside any rollout, since fleet revision `revision`."""

    release: Release
    revision: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A tenant: devices, their baselines and at most one live rollout.

    Attributes:
        name: unique; lower-case letters, digits and hyphens.
        revision: rises with every change a device could notice; assignment counters are taken from it.
        floor: no assignment carries a smaller counter. Raised when a rollout ends, so that whatever a device
            was told during the rollout is older than what it is told after.
        baselines: the latest first; a device obeys the first whose target matches it.
        poll_interval_s: how often a device asks.
        device_quota: how many devices may enrol.
    """

    name: str
    created_at: float
    revision: int = 1
    floor: int = 1
    baselines: tuple[Baseline, ...] = ()
    poll_interval_s: float = 300.0
    device_quota: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Device:
    """One enrolled device.

    Attributes:
        id: unique within its fleet.
        public_key: the device's own Ed25519 key, 64 hex digits; it never leaves with a private half.
        revision: the fleet's revision when its attributes last changed.
        epoch: rises when the device is retired or enrols anew, which ends the tokens issued before.
        retired_at: since when it is refused; None while it is welcome.
        hardware_id: what the device calls itself; for people only.
        sdk: version of the device's SDK.
        enrolment: id of the enrolment token it spent; empty when an operator added it.
        doubled_at: since when it is held because two machines use its identity; None while one does.
        doubled: why they must be two.
    """

    fleet: str
    id: str
    public_key: str
    enrolled_at: float
    attributes: Attributes = field(default_factory=dict)
    revision: int = 1
    epoch: int = 1
    retired_at: float | None = None
    hardware_id: str = ""
    sdk: str = ""
    enrolment: str = ""
    doubled_at: float | None = None
    doubled: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """The part of a device that serving it needs, small enough to keep for every device in memory.

    Devices with equal attributes share one mapping: treat it as read-only.
    """

    id: str
    public_key: bytes
    attributes: Attributes
    revision: int
    epoch: int
    retired: bool = False
    doubled: bool = False


def next_revision(previous: int, now: float) -> int:
    """The next fleet revision: greater than `previous`, and than any revision before a restored backup.

    Counters on devices only rise. A database restored from yesterday would otherwise issue counters that
    devices have already seen; milliseconds of wall time put them above (a hybrid logical clock).
    """
    return max(previous + 1, int(now * 1000))
