"""Cohorts by stable hash: who is canary, who is control, without a row per device.

Every device has a position in [0, 1) that depends on the rollout and its id alone. Canaries fill the range
from the bottom, control from the top, so both are random samples of the targeted devices, they never
overlap, and a device that enrols or returns later falls into place by itself.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from acclimate.rollout.domain.evidence import Arm
from acclimate.rollout.domain.plan import Plan, Wave
from acclimate.rollout.domain.rollout import OpenWave


def position(rollout_id: str, device_id: str) -> float:
    """Where a device stands in a rollout: uniform in [0, 1), the same on every machine."""
    digest = hashlib.blake2b(device_id.encode(), digest_size=7, key=rollout_id.encode()[:64]).digest()
    return int.from_bytes(digest, "big") / 2**56


def thresholds(wave: Wave, control_share: float, positions: Sequence[float]) -> tuple[float, float]:
    """The canary and control shares at which a wave opens.

    A count becomes the share that takes in that many of the devices known now; control takes as many as
    there are canaries, up to its own share, and is never squeezed out by a wave of everyone.

    Args:
        positions: those of the targeted devices, in any order.
    """
    canary = wave.share if wave.share is not None else _share_of(wave.count or 0, sorted(positions))
    control = control_share
    if wave.count is None:
        control = min(control_share, canary)
    elif control_share:
        control = min(control_share, _share_of(wave.count, sorted(1.0 - place for place in positions)))
    return min(canary, 1.0 - control), control


def added_canaries(plan: Plan, positions: Sequence[float]) -> list[int]:
    """How many of the devices at `positions` each wave takes in that no wave before it did."""
    ascending, reached, added = sorted(positions), 0, list[int]()
    for wave in plan.waves:
        canary, _ = thresholds(wave, plan.control_share, ascending)
        below = max(reached, bisect_left(ascending, canary))
        added.append(below - reached)
        reached = below
    return added


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A wave that could never pass: it adds fewer canaries than must report."""

    number: int
    wave: Wave
    added: int
    devices: int

    def __str__(self) -> str:
        remedy = f"make it larger, or min_devices at most {self.added}" if self.added else "make it larger"
        return (
            f"wave {self.number} ({self.wave}) could never pass: it needs {self.wave.min_devices} canaries "
            f"that report, and adds {self.added} of the {self.devices} devices targeted; {remedy}"
        )


def shortfall(plan: Plan, positions: Sequence[float]) -> Shortfall | None:
    """The first wave that could never pass; None if each could.

    Without any device there is none: they may enrol before the rollout starts.
    """
    if not positions:
        return None
    for number, (wave, added) in enumerate(zip(plan.waves, added_canaries(plan, positions), strict=True), 1):
        if added < wave.min_devices:
            return Shortfall(number, wave, added, len(positions))
    return None


def _share_of(count: int, ascending: Sequence[float]) -> float:
    """A threshold below which `count` positions lie, halfway to the next one; everyone there is, if fewer.

    Without any device it is 0: a wave of five must not become a wave of all who enrol later.
    """
    if not ascending:
        return 0.0
    if count >= len(ascending):
        return 1.0
    return (ascending[count - 1] + ascending[count]) / 2


def cohort(opened: Sequence[OpenWave], place: float) -> tuple[Arm, int] | None:
    """The arm of a device at `place` and the number of the wave that took it in; None outside all waves."""
    for number, wave in enumerate(opened, start=1):
        if place < wave.canary:
            return "canary", number
        if place >= 1.0 - wave.control:
            return "control", number
    return None
