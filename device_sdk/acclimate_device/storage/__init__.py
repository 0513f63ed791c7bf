"""What survives power cuts and worn flash: a store of records in two copies, and two slots for versions."""

from __future__ import annotations

from acclimate_device.storage.flash import FileFlash, Flash
from acclimate_device.storage.owner import Claim, SameProcess
from acclimate_device.storage.slots import Assignment, Boot, Slots, Trial
from acclimate_device.storage.store import CLOCK, CONTRIBUTED, CONTRIBUTION, ROUND, Mishap, Store

__all__ = [
    "CLOCK",
    "CONTRIBUTED",
    "CONTRIBUTION",
    "ROUND",
    "Assignment",
    "Boot",
    "Claim",
    "FileFlash",
    "Flash",
    "Mishap",
    "SameProcess",
    "Slots",
    "Store",
    "Trial",
]
