"""One identity, one machine: rules that tell a restart from a second machine with a copied identity.

Each start of an agent draws a nonce, counts itself on the device's flash, and names a digest of the hardware.
A machine asks under one nonce until it starts anew. What comes back under an old nonce, or counts no further
than a start before it, comes from a copy of the files. On other hardware that is a second machine. On the
same hardware it may be a request that was long on its way or a backup put back: believed once a day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from acclimate_device.protocol import Start

REMEMBERED = 8
"""Nonces kept of starts before the latest."""
REWIND_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Machine:
    """The latest start that asked under an identity, and what is kept of those before.

    Attributes:
        nonce, count, hardware: of the latest start, see `protocol.Start`.
        earlier: nonces of starts before, the latest last.
        rewound_at: when an old start last came back, or one counted no further than one before it.
    """

    nonce: str
    count: int
    hardware: str
    earlier: tuple[str, ...] = ()
    rewound_at: float | None = None


def started(known: Machine | None, start: Start, now: float, late: bool) -> tuple[Machine, str]:
    """The machine after `start` asked, and why there must be two of them; empty where one explains it.

    Args:
        late: it may have been queued for long: an old nonce on the same hardware proves nothing.
    """
    if known is None:
        return Machine(start.nonce, start.count, start.hardware), ""
    moved = bool(known.hardware and start.hardware and known.hardware != start.hardware)
    both = f"{_name(known.hardware, known.count)} and {_name(start.hardware, start.count)}"
    if start.nonce == known.nonce:
        return known, f"one start on two machines at once: {both}" if moved else ""
    back = start.nonce in known.earlier
    if back and late and not moved:
        return known, ""
    after = known if back else _next(known, start)
    if not back and (not start.count or not known.count or start.count > known.count):
        return after, ""
    if moved:
        return after, f"a copy of its files runs on other hardware: {both}"
    if known.rewound_at is not None and now - known.rewound_at < REWIND_S:
        return after, f"two agents with the same files ask in turns: {both}"
    return replace(after, rewound_at=now), ""


def _next(known: Machine, start: Start) -> Machine:
    return Machine(
        start.nonce,
        start.count or known.count,
        start.hardware or known.hardware,
        (*known.earlier, known.nonce)[-REMEMBERED:],
        known.rewound_at,
    )


def _name(hardware: str, count: int) -> str:
    return f"hardware {hardware[:8] or 'unknown'} at its start {count or 'of unknown number'}"
