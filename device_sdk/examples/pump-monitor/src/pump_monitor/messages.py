"""What comes in: one JSON object a line, a sample of the sensors or the label of an earlier window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass


class MessageError(ValueError):
    """A line that is neither a sample nor a label; it is told and skipped."""


@dataclass(frozen=True)
class Sample:
    """One reading of every sensor.

    Attributes:
        time: Unix seconds.
        values: by channel name, in the units the model was trained in.
    """

    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Label:
    """What a person, or a later measurement, says of a window that was predicted before."""

    window: int
    label: str | float


def parse(line: str) -> Sample | Label:
    """Read one line.

    Raises:
        MessageError: not a JSON object, or a field is missing or of the wrong type.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise MessageError(f"no JSON: {line[:80]!r}") from None
    match fields:
        case {"window": int(window), "label": str() | int() | float() as label}:
            return Label(window, label)
        case {"time": int() | float() as time, **values} if values and abs(time) < 1e11:  # seconds, not less
            return Sample(float(time), values)
    raise MessageError(f"neither a sample (time and channels) nor a label (window and label): {line[:80]!r}")
