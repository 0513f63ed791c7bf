"""Notices when two machines use one device's identity: see `domain.machines`."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.roster import Roster
from acclimate.rollout.store import Store
from acclimate_device.protocol import Start

BELIEVED_S = 300.0
_MOST = 200_000

log = logging.getLogger(__name__)


class MachineDesk:
    """Takes in which start of which machine asks, before what it says counts.

    Every token request is judged by the store. Reports come more often: those of a start that the store knew
    as the latest `BELIEVED_S` ago pass, and a token given to another start ends that.
    """

    def __init__(self, store: Store, roster: Roster) -> None:
        self._store, self._roster = store, roster
        self._believed: OrderedDict[tuple[str, str], tuple[Start, float]] = OrderedDict()

    async def asks(self, fleet: str, device: str, start: Start | None, now: float) -> None:
        """A token is asked for."""
        if start is not None:
            await self._judge(fleet, device, start, now, late=False)

    def believes(self, fleet: str, device: str, start: Start) -> bool:
        """Whether reports of this start count without another look."""
        believed, until = self._believed.get((fleet, device), (None, 0.0))
        return start == believed and time.monotonic() <= until

    async def reports(self, fleet: str, device: str, start: Start, now: float) -> None:
        """Reports came of a start that is not believed yet."""
        await self._judge(fleet, device, start, now, late=True)

    async def _judge(self, fleet: str, device: str, start: Start, now: float, late: bool) -> None:
        found = await in_thread(self._store.start, fleet, device, start, now, late)
        known = self._roster.find(fleet, device)
        if found.doubled_at is not None and (known is None or not known[1].doubled):
            self._roster.enrolled(found)
            log.warning("device-doubled", extra={"fleet": fleet, "device": device, "why": found.doubled})
        self._believed[fleet, device] = start, time.monotonic() + BELIEVED_S
        self._believed.move_to_end((fleet, device))
        if len(self._believed) > _MOST:
            self._believed.popitem(last=False)
