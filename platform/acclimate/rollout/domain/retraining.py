"""When drift in a fleet calls for a new version, and what the training that follows is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from acclimate.errors import RolloutError
from acclimate_device.protocol import Release

Cause = Literal["drift", "alertmanager", "operator"]


@dataclass(frozen=True, slots=True)
class Drifted:
    """How many of a fleet's devices noticed drift since a moment.

    Attributes:
        devices: that reported.
        drifted: of these, those that noticed drift at least once.
    """

    devices: int
    drifted: int
    since: float

    @property
    def share(self) -> float:
        """0 where nothing reported."""
        return self.drifted / self.devices if self.devices else 0.0


@dataclass(frozen=True, slots=True)
class RetrainingRule:
    """When to train again, and how often at most.

    Attributes:
        drift_share: of the reporting devices, from which the service asks by itself; 0 leaves asking to
            others (an alert, a person).
        min_devices: that must have reported before their share says anything.
        window_s: how far back reports count.
        cooldown_s: shortest time between two trainings for one fleet, whoever asks.
    """

    drift_share: float = 0.3
    min_devices: int = 20
    window_s: float = 86_400.0
    cooldown_s: float = 86_400.0

    def __post_init__(self) -> None:
        if not 0 <= self.drift_share <= 1:
            raise RolloutError(
                f"the drift share that retrains is {self.drift_share:g}: use 0 to 1, 0 for never"
            )
        if self.window_s <= 0 or self.cooldown_s < self.window_s:
            raise RolloutError(
                f"retraining looks back {self.window_s:g} s but may repeat after {self.cooldown_s:g} s: the "
                "same drift would train twice; make the cooldown at least as long as the window"
            )

    def calls_for(self, drifted: Drifted) -> bool:
        """Whether a fleet has drifted enough."""
        return 0 < self.drift_share <= drifted.share and drifted.devices >= self.min_devices


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a training starts, for its lineage.

    Attributes:
        id: of the training, unique.
        parent: what the fleet ran when it was asked for.
        detail: the alert's or the person's own words.
    """

    id: str
    fleet: str
    parent: Release
    cause: Cause
    actor: str
    detail: str
    drifted: Drifted

    def tags(self) -> dict[str, str]:
        """Lineage for the version that comes of it."""
        return {
            "parent_version": str(self.parent.version),
            "parent_content_hash": self.parent.content_hash,
            "retraining": self.id,
            "trigger": self.cause,
            "trigger_detail": self.detail,
            "fleet": self.fleet,
            "drifted_devices": str(self.drifted.drifted),
            "reporting_devices": str(self.drifted.devices),
            "drift_share": f"{self.drifted.share:.4f}",
        }
