"""What survives a power cut: an interface to flash, checksummed records, and two slots for versions."""

from __future__ import annotations

from acclimate_device.storage.flash import FileFlash, Flash, replace
from acclimate_device.storage.record import Record
from acclimate_device.storage.slots import Assignment, Boot, Slots, Trial

__all__ = ["Assignment", "Boot", "FileFlash", "Flash", "Record", "Slots", "Trial", "replace"]
