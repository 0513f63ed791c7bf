"""What every detector of a single stream offers."""

from __future__ import annotations

from typing import Protocol


class Detector(Protocol):
    """Watches one stream of numbers for a change of its distribution."""

    @property
    def drift_detected(self) -> bool:
        """Whether the last update found drift."""

    @property
    def warning_detected(self) -> bool:
        """Whether the last update found the stream close to drift."""

    def update(self, x: float) -> None:
        """Take the next value. After a drift this starts afresh first."""

    def reset(self) -> None:
        """Forget everything seen."""
