"""What a device says of itself when its flash or its clock is in trouble; predictions go on meanwhile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """How a device is, as far as it knows.

    Attributes:
        storage: why the flash does not take what should be kept; empty while it does. Meanwhile versions,
            adapted state and reports are kept in memory, and each is tried again.
        reports_held: reports that wait in memory for that reason.
        repaired: records mended from their second copy since this device was opened.
        set_aside: files found damaged or foreign and moved out of the way since then.
        clock_leaps: times the wall clock was set since then.
    """

    storage: str = ""
    reports_held: int = 0
    repaired: int = 0
    set_aside: int = 0
    clock_leaps: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything that should be kept is kept."""
        return not self.storage
