"""What the store gives and refuses, beside the domain's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from acclimate.errors import RolloutError
from acclimate.rollout.domain.evidence import Arm, Observation
from acclimate.rollout.domain.fleet import Fleet, Member
from acclimate.rollout.domain.rollout import Rollout
from acclimate_device.protocol import Release


class NotFoundError(RolloutError):
    """The store holds no such fleet, device, rollout or token."""


class ConflictError(RolloutError):
    """The name is taken, or something changed since it was read: look again and repeat."""


class EnrolmentRefusedError(RolloutError):
    """The enrolment token is unknown, spent, expired or revoked, or the fleet is full."""


class LeaseLostError(Exception):
    """Another controller leads: stop, and drop what was decided. Never a user's mistake."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A device was told its assignment in a rollout, for the first time as far as this replica knows."""

    rollout: str
    device: str
    arm: Arm
    wave: int
    counter: int
    content_hash: str
    at: float

    def observation(self) -> Observation:
        """What is known of the device in the rollout so far."""
        return Observation(self.device, self.arm, self.wave, self.at, self.counter, self.content_hash)


@dataclass(frozen=True, slots=True)
class FleetChanges:
    """What is new in one fleet since a revision; retired devices are among them, marked so."""

    fleet: Fleet
    live: Rollout | None
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class Counts:
    """Reports and what they add up to, over stored rows and those already summed up by retention."""

    fleet: str
    release: Release
    hour: float
    reports: int
    examples: int
    loss_sum: float
    adapted_examples: int
    adapted_loss_sum: float
    predictions: int
    adaptations: int
    kept_starts: int
    drifts: int
    fallbacks: int
    alarms: int
    refusals: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership until `expires_at`. `token` rises with every new holder and fences off the ones before."""

    name: str
    holder: str
    token: int
    expires_at: float


Step = Callable[[Rollout, int], Rollout]
"""From a rollout as stored and the fleet's next revision to the rollout after one step of its life."""
