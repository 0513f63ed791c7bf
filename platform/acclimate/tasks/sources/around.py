"""A part that another one wraps: what each wrapper changes stands in the wrapper, the rest here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acclimate.tasks.sources.source import Part


@dataclass(frozen=True)
class PartAround:
    """Is called, counts and says what `part` does; a wrapper adds its `columns` and `batches`."""

    part: Part

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def rows(self) -> int:
        return self.part.rows

    @property
    def width(self) -> int:
        return self.part.width

    @property
    def notes(self) -> Sequence[str]:
        return self.part.notes
