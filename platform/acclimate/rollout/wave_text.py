"""Waves as people write them: `1%:1h, 10%:6h, 50%:1d!` or `20:30min`.

Each wave is a share or a number of devices, then how long it is watched; `!` asks for a person's approval
before it opens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from acclimate.errors import RolloutError
from acclimate.rollout.domain.plan import Wave

_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_WAVE = re.compile(
    r"(\d{1,9}(?:\.\d{1,9})?)\s*(%?)\s*(?::\s*(\d{1,9}(?:\.\d{1,9})?)\s*(s|min|h|d))?\s*(!?)", re.ASCII
)
EXAMPLE = "1%:1h, 10%:6h, 50%:1d"


def parse_waves(text: str, min_devices: int = 1) -> tuple[Wave, ...]:
    """Read waves separated by commas.

    Raises:
        RolloutError: naming the wave that does not read.
    """
    return tuple(_wave(part.strip(), min_devices) for part in text.split(",") if part.strip())


def write_waves(waves: Sequence[Wave]) -> str:
    """Waves as people write them: what `parse_waves` reads, but for their outcomes."""
    return ", ".join(map(_written, waves))


def _written(wave: Wave) -> str:
    size = str(wave.count) if wave.share is None else f"{wave.share * 100:g}%"
    unit = next((unit for unit in ("d", "h", "min") if wave.duration_s % _UNITS_S[unit] == 0), "s")
    return f"{size}:{wave.duration_s / _UNITS_S[unit]:g}{unit}{'!' if wave.approval else ''}"


def _wave(text: str, min_devices: int) -> Wave:
    match = _WAVE.fullmatch(text)
    if match is None:
        raise RolloutError(f"wave {text!r} is not understood: write a share and a duration, as in {EXAMPLE}")
    size, percent, length, unit, approval = match.groups()
    if not percent and "." in size:
        raise RolloutError(f"wave {text!r} has a broken number of devices: write {size}% for a share")
    return Wave(
        share=float(size) / 100 if percent else None,
        count=None if percent else int(size),
        duration_s=float(length) * _UNITS_S[unit] if length else 0.0,
        min_devices=min_devices,
        approval=bool(approval),
    )
