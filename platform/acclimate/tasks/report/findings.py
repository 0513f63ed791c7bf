"""What a person should know about some recordings, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing to know about the data.

    Attributes:
        severity: `error` stops training, `warning` makes its figures doubtful, `note` is good to know.
        what: the finding, with names and numbers.
        remedy: what to do about it.
    """

    severity: Severity
    what: str
    remedy: str


def names(known: Sequence[str]) -> str:
    """The first five, and how many more."""
    shown = ", ".join(map(repr, known[:5]))
    return shown + (f" and {len(known) - 5} more" if len(known) > 5 else "")
