"""What this process uses, from the standard library and /proc."""

from __future__ import annotations

import resource
import time

from acclimate_device.protocol import Resources

_STARTED = time.monotonic()


def resources() -> Resources:
    """Resident bytes now (the peak where there is no /proc), CPU seconds, seconds since import."""
    return Resources(_resident_bytes(), round(time.process_time(), 3), round(time.monotonic() - _STARTED, 1))


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
