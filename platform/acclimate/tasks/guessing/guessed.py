"""What was guessed of unknown recordings, and the order in which a recipe says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_FIRST = (
    "kind",
    "task",
    "group",
    "time",
    "recording",
    "label",
    "normal",
    "targets",
    "channels",
    "wide",
    "window",
)
_AHEAD = ("wide", "window", "seasons", "horizon", "leads", "stride", "calendar")
ORDER = (
    *_FIRST,
    *_AHEAD,
    "sample_rate_hz",
    "resample_s",
    "max_gap",
    "missing",
    "absent",
    "dates",
    "repeated",
    "relative",
    "timeline",
)


@dataclass(frozen=True)
class Guess:
    """A declaration and why it says what it says.

    Attributes:
        declaration: keys of `RecordingSchema`, as YAML types.
        reasons: by key, in the order of the declaration.
        left_out: why each column that is not used is not.
    """

    declaration: dict[str, Any]
    reasons: dict[str, str]
    left_out: dict[str, str]

    def with_entry(self, key: str, value: Any, reason: str) -> Guess:
        """The guess with another value of a key of the declaration."""
        declaration, reasons = {**self.declaration, key: value}, {**self.reasons, key: reason}
        return Guess(declaration, reasons, self.left_out)
