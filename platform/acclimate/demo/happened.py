"""What came of each phase of the story, as data."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.evaluation import Evaluation
from acclimate.registry import VersionInfo
from acclimate.rollout.controller import ACTOR
from acclimate.rollout.domain.evidence import Decision, Observation
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.simulation import Detection
from acclimate_device.protocol import Release


@dataclass(frozen=True)
class Learned:
    """A version was meta-trained and registered."""

    version: VersionInfo
    evaluation: Evaluation
    people: int
    took_s: float


@dataclass(frozen=True)
class Settled:
    """The fleet enrolled and adapted; times are seconds after its start, accuracies of the whole fleet.

    Attributes:
        first_accuracy: before most devices had adapted.
        accuracy: over the last seconds.
    """

    release: Release
    devices: int
    until_s: float
    first_accuracy: float
    accuracy: float


@dataclass(frozen=True)
class Drifted:
    """Every watch changed arms at `began_s`; the service asked for a training at `asked_s`, seconds after the
    fleet's start.

    Attributes:
        accuracies: just before, right after the change, and at the end.
        detections: what each device made of it.
        false_alarms: drifts that devices noticed before.
    """

    began_s: float
    asked_s: float
    until_s: float
    accuracies: tuple[float, float, float]
    detections: tuple[Detection, ...]
    false_alarms: int


@dataclass(frozen=True)
class Retrained:
    """The training that the service started by itself has ended."""

    version: VersionInfo
    evaluation: Evaluation
    audit: tuple[str, ...]


@dataclass(frozen=True)
class RolledOut:
    """A rollout ended, with all that it rests on; `began_s` and `until_s` as above.

    Attributes:
        decisions: of the controller and of people, the oldest first: what is told of the end is read here.
    """

    rollout: Rollout
    observations: tuple[Observation, ...]
    decisions: tuple[Decision, ...]
    began_s: float
    until_s: float

    @property
    def by_hand(self) -> bool:
        """Whether a person brought it to its end: promoted a wave, or was the one who rolled it back."""
        if self.rollout.state is State.DONE:
            return any(one.action == "promote" and one.actor != ACTOR for one in self.decisions)
        returned = (one for one in self.decisions if one.action in ("roll_back", "rollback"))
        return next((one.actor != ACTOR for one in returned), False)

    @property
    def version(self) -> int:
        return self.rollout.plan.release.version
