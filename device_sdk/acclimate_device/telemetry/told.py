"""What fits the protocol, whatever a file is called or the clock says: a report that does not is lost."""

from __future__ import annotations

from acclimate_device.protocol import LIMITS, Event, EventKind


def moment(seconds: float) -> float:
    """Unix seconds to the millisecond, as near as the protocol has them: a clock may stand before 1970."""
    earliest, latest = LIMITS.time_s
    return round(min(max(seconds, earliest), latest), 3)


def told(at: float, kind: EventKind, source: str = "", detail: str = "") -> Event:
    """An event, in printable characters and not too long."""
    return Event(moment(at), kind, _printable(source)[:128], _printable(detail)[:256])


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
