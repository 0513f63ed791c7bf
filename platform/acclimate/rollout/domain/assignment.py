"""What one device should do now: a pure function of its fleet, the live rollout and the device itself.

The counter is the revision of whatever caused the assignment, so it rises exactly when the assignment
changes, and two replicas with the same snapshot say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.rollout.domain.cohort import cohort, position
from acclimate.rollout.domain.evidence import Arm
from acclimate.rollout.domain.fleet import Attributes, Baseline, Fleet
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.rollout.domain.target import parse_target
from acclimate_device.protocol import Action, Release


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the service says to one device; `rollout`, `arm` and `wave` are set when one concerns it."""

    action: Action
    release: Release | None
    counter: int
    rollout: str = ""
    arm: Arm | None = None
    wave: int = 0


def assign(
    fleet: Fleet,
    rollout: Rollout | None,
    device_id: str,
    attributes: Attributes,
    revision: int,
    doubled: bool = False,
) -> Assignment:
    """What the device should do.

    Args:
        rollout: the fleet's live rollout, if any.
        revision: the device's own; see `Device`.
        doubled: two machines use its identity: each keeps what it runs, and no rollout concerns them.
    """
    baseline = baseline_of(fleet, attributes)
    least = max(fleet.floor, revision, baseline.revision if baseline else 0)
    release = baseline.release if baseline else None
    if doubled:
        return Assignment("hold", None, least)
    usual = Assignment("run" if release else "hold", release, least)
    if rollout is None or not rollout.live or not parse_target(rollout.plan.target)(attributes):
        return usual
    part = cohort(rollout.opened, position(rollout.id, device_id))
    if part is None:
        return usual
    arm, wave = part
    counter = max(least, rollout.opened[wave - 1].revision, rollout.touched)
    if rollout.state is State.ROLLING_BACK:
        return Assignment(usual.action, release, counter, rollout.id, arm, wave)
    if rollout.state is State.PAUSED:
        return Assignment("hold", None, counter, rollout.id, arm, wave)
    chosen = rollout.plan.release if arm == "canary" else release
    return Assignment("reset" if chosen else "hold", chosen, counter, rollout.id, arm, wave)


def baseline_of(fleet: Fleet, attributes: Attributes) -> Baseline | None:
    """What a device runs outside any rollout: the latest baseline whose target matches it."""
    return next((one for one in fleet.baselines if parse_target(one.target)(attributes)), None)


def with_baseline(fleet: Fleet, target: str, release: Release, revision: int) -> Fleet:
    """The fleet after `release` became what devices matching `target` run.

    Baselines that can no longer apply are dropped: those of the same target, and all of them under an empty
    one. That bounds the list by the number of distinct targets.
    """
    kept = () if not target else tuple(one for one in fleet.baselines if one.target != target)
    return Fleet(
        name=fleet.name,
        created_at=fleet.created_at,
        revision=revision,
        floor=revision,
        baselines=(Baseline(release, revision, target), *kept),
        poll_interval_s=fleet.poll_interval_s,
        device_quota=fleet.device_quota,
    )
