"""Collects garbage by the steps of a simulation.

Left to itself the interpreter looks through all there is each time that it has grown by a quarter. A fleet's
objects live as long as the fleet, and that took a twelfth of its time.
"""

from __future__ import annotations

import gc

from acclimate_device.telemetry import resources


class Garbage:
    """In place of the interpreter's own collections, from when it is made until `leave`.

    Attributes:
        resident_bytes: of this process when everything was looked through last.
    """

    def __init__(self) -> None:
        self._usual = gc.isenabled()
        gc.disable()
        self.resident_bytes = resources().rss_bytes

    def step(self) -> None:
        """Collect what a step left behind; of everything there is, once memory has doubled."""
        now = resources().rss_bytes
        if now < 2 * self.resident_bytes:
            gc.collect(1)
            return
        gc.collect()
        self.resident_bytes = now

    def leave(self) -> None:
        """Let the interpreter collect as it did."""
        if self._usual:
            gc.enable()
