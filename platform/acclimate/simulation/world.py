"""Where a fleet lives: a rollout service, its repository, and someone who operates it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from acclimate.rollout.bodies import PlanBody
from acclimate.rollout.domain.rollout import ENDED
from acclimate_device.agent import Transport
from acclimate_device.protocol import MANIFEST, Manifest, Release, loads

Files = Mapping[str, bytes]
"""A bundle's files by name."""
_COUNTED = (
    "reports",
    "examples",
    "loss_sum",
    "predictions",
    "adaptations",
    "kept_starts",
    "drifts",
    "fallbacks",
)


@dataclass(frozen=True)
class RolloutStatus:
    """How far a rollout is, and the newest decision's reason."""

    state: str
    wave: int
    reason: str

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Operator(Protocol):
    """What a person does to the service."""

    def add_fleet(self, name: str, poll_s: float) -> None:
        """Create a fleet."""

    def set_baseline(self, fleet: str, release: Release) -> None:
        """Give every device of the fleet a release without a rollout."""

    def enrolment_token(self, fleet: str, devices: int) -> str:
        """A token that lets so many devices in."""

    def roll_out(self, fleet: str, plan: PlanBody) -> str:
        """Plan and start a rollout; its id."""

    def status(self, rollout: str) -> RolloutStatus:
        """How far it is."""

    def counted(self, fleet: str) -> dict[str, float]:
        """What the service has counted of the fleet's reports, summed up."""


class World(Protocol):
    """A running service."""

    @property
    def clock(self) -> Callable[[], float]:
        """The true time, Unix seconds."""

    @property
    def root(self) -> bytes:
        """The trusted TUF root that devices are shipped with."""

    @property
    def operator(self) -> Operator:
        """Of the service."""

    def connect(self) -> Transport:
        """A device's connection to the service."""


def release_of(files: Files) -> Release:
    """The release that a bundle's manifest names."""
    return loads(Manifest, files[MANIFEST], 10**6).release


def summed(counts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The sums over a fleet's counts by release and hour."""
    return {name: sum(one[name] for one in counts) for name in _COUNTED}
