"""Calls a device's `tick`: at once, then once a second in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from acclimate_device.errors import DeviceError

logger = logging.getLogger(__name__)

_TICK_S = 1.0


class Housekeeping:
    """Ticks from now on until `stop`. A tick that fails is logged, once while it fails in one way, and the
    next one tries again.

    The first tick is over when this returns, so that a process of less than a second obeys the agent too.
    """

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick, self._told = tick, ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="acclimate-device", daemon=True)
        self._try()
        self._thread.start()

    def stop(self) -> None:
        """Returns after the last tick."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_TICK_S):
            self._try()

    def _try(self) -> None:
        try:
            self._tick()
            self._told = ""
        except Exception as error:  # of a detector or callback of the application's too: reports must go on
            if repr(error) != self._told:
                trace = not isinstance(error, DeviceError)
                logger.warning("housekeeping failed, trying again: %s", error, exc_info=trace)
            self._told = repr(error)
