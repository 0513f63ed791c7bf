"""What happens in a simulation, told as it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from acclimate_device.protocol import Report

Kind = Literal[
    "enrolled",  # a device joined the fleet; detail: its id
    "report",  # a device closed a window of telemetry; `report` holds it
    "drift-began",  # the inputs of a device began to change; detail: the drift's name
    "offline",
    "online",
    "restarted",  # detail: why
    "mute",
    "failed",  # a device stopped for good; detail: why
    "rollout",  # a rollout changed; device is -1, detail: version, state and wave
]


@dataclass(frozen=True)
class Happening:
    """One event: when (true Unix seconds), to which device (its number, -1 for the fleet), and what."""

    at: float
    device: int
    kind: Kind
    detail: str = ""
    report: Report | None = None


Tell = Callable[[Happening], None]
