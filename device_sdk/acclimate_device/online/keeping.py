"""What outlives a restart beside the version: reports and adapted state. Trouble of the flash ends here.

What the flash refuses stays in memory and is tried again; that, and every other thing the flash or the clock
did, becomes an event.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable

from acclimate_device.clock import Clock
from acclimate_device.errors import StorageError
from acclimate_device.online.health import Health
from acclimate_device.online.saved import Adapted, SavedState
from acclimate_device.online.versions import Note, Versions
from acclimate_device.protocol import LIMITS, Report
from acclimate_device.runtime import Engine
from acclimate_device.storage import CLOCK, Store
from acclimate_device.telemetry import ReportQueue

logger = logging.getLogger(__name__)


class Keeping:
    """The store of one device, and how it is doing.

    Args:
        store: on the device's flash.
        clock: of the device.
        new_id: makes the ids of merged reports.
    """

    def __init__(self, store: Store, clock: Clock, new_id: Callable[[], str]) -> None:
        self._store, self._clock = store, clock
        self._queue, self._saved = ReportQueue(store, new_id=new_id), SavedState(store)
        self._unread = self._unsaved = ""  # why adapted state could not be read, or kept
        self._unkept = ""  # why anything else could not
        self.health = Health()
        self.leap_s = 0.0  # what the clock was set by, as of the last look

    def add(self, report: Report) -> None:
        """Queue a closed window."""
        self._queue.add(report)

    def flush(self) -> None:
        """Try once more to queue what is held in memory."""
        self._queue.flush()

    def load(self, engine: Engine, lineage: int) -> Adapted | None:
        """The adapted state of this version and lineage; None if there is none, or none can be read now.

        Raises:
            BundleError: there is one and it does not fit.
        """
        try:
            return self._saved.load(engine, lineage)
        except StorageError as error:
            self._unread = str(error)
            return None

    def save(self, engine: Engine, state: Adapted | None, lineage: int) -> bool:
        """Keep adapted state, if there is any; whether the flash took it."""
        try:
            if state is not None:
                self._saved.save(engine, state, lineage)
            self._unsaved = self._unread = ""
        except StorageError as error:
            self._unsaved = str(error)
        return not self._unsaved

    def keep(self, name: str, data: bytes) -> bool:
        """Keep something under a name of its own; whether the flash took it."""
        try:
            self._store.write(name, data)
            self._unkept = ""
        except StorageError as error:
            self._unkept = str(error)
        return not self._unkept

    def kept(self, name: str) -> bytes | None:
        """What is kept under a name; None where nothing is, or can be read now."""
        try:
            return self._store.read(name)
        except StorageError as error:
            self._unkept = str(error)
            return None

    def clock_offset_s(self) -> float:
        """How far the service's clock is ahead, as the agent last saw it."""
        with contextlib.suppress(StorageError, ValueError, TypeError, RecursionError):
            offset_s = float(json.loads(self._store.read(CLOCK) or b"0"))
            return offset_s if abs(offset_s) <= LIMITS.time_s[1] else 0.0  # or not a number
        return 0.0  # unreadable now, or of another version of this package

    def look(self, versions: Versions) -> list[Note]:
        """Try again what was refused; what is new about flash and clock since the last call."""
        versions.retry()
        self._queue.flush()
        notes: list[Note] = [(one.kind, one.name[:128], one.detail) for one in self._store.take_mishaps()]
        repaired = sum(kind == "repaired" for kind, _, _ in notes)
        set_aside = len(notes) - repaired
        trouble = versions.trouble or self._queue.trouble or self._unsaved or self._unread or self._unkept
        if trouble and not self.health.storage:
            notes.append(("storage_failed", "StorageError", trouble))
            logger.warning("event=storage_failed detail=%s", trouble)
        elif self.health.storage and not trouble:
            notes.append(("storage_recovered", "", self.health.storage))
        self.leap_s = leap = self._clock.leapt()
        if leap:
            notes.append(("clock_jumped", "clock", f"{leap:+.0f} s"))
        before = self.health
        self.health = Health(
            storage=trouble,
            reports_held=self._queue.held,
            repaired=before.repaired + repaired,
            set_aside=before.set_aside + set_aside,
            clock_leaps=before.clock_leaps + bool(leap),
        )
        return notes
