"""What polls are answered from: every fleet, its live rollout and its devices, in memory.

The roster follows the store: `refresh` asks for what changed since the revisions it knows, which is one small
query when nothing did. Between two refreshes a replica says what was true a moment ago; counters make sure
that a device never goes back because of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.domain.assignment import Assignment, assign
from acclimate.rollout.domain.fleet import Device, Fleet, Member
from acclimate.rollout.domain.rollout import Rollout
from acclimate.rollout.store import FleetChanges, Store
from acclimate_device.protocol import Release


@dataclass(slots=True)
class Section:
    """One fleet with its devices by id.

    Attributes:
        releases: every (name, version) its devices may fetch: baselines, and rollouts' releases.
        changes: grows with whatever changes here, so that who remembers something of it sees that.
    """

    fleet: Fleet
    live: Rollout | None
    members: dict[str, Member] = field(default_factory=dict)
    releases: set[tuple[str, int]] = field(default_factory=set)
    changes: int = 0

    def assignment(self, member: Member) -> Assignment:
        """What the device should do now."""
        return assign(self.fleet, self.live, member.id, member.attributes, member.revision, member.doubled)


class Roster:
    """The fleets in memory; read by the event loop, refreshed on it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sections: dict[str, Section] = {}
        self.ready = False
        self.refreshed_at = 0.0  # monotonic seconds

    async def refresh(self) -> None:
        """Take in what the store knows and the roster does not.

        Changes are applied on the event loop, so that no poll sees half of them.
        """
        known = {name: section.fleet.revision for name, section in self.sections.items()}
        self.apply(await in_thread(self._store.changes, known))
        self.refreshed_at = time.monotonic()

    def apply(self, changes: Sequence[FleetChanges]) -> None:
        """Take changes in; on the event loop."""
        for change in changes:
            section = self.sections.get(change.fleet.name)
            if section is None:
                section = self.sections[change.fleet.name] = Section(change.fleet, change.live)
            elif change.fleet.revision < section.fleet.revision:
                continue  # two refreshes crossed: the later one is in already
            section.fleet, section.live = change.fleet, change.live
            section.releases |= _releases(change)
            section.members.update((member.id, member) for member in change.members)
            section.changes += 1
        self.ready = True

    def enrolled(self, device: Device) -> Member:
        """Take in a device that this process has just stored, before the next refresh."""
        member = Member(
            id=device.id,
            public_key=bytes.fromhex(device.public_key),
            attributes=device.attributes,
            revision=device.revision,
            epoch=device.epoch,
            retired=device.retired_at is not None,
            doubled=device.doubled_at is not None,
        )
        section = self.sections.get(device.fleet)
        if section is not None:
            section.members[device.id] = member
            section.changes += 1
        return member

    @property
    def devices(self) -> int:
        """How many devices all fleets have, retired ones included."""
        return sum(len(section.members) for section in self.sections.values())

    def find(self, fleet: str, device_id: str) -> tuple[Section, Member] | None:
        """A fleet and a device in it, or None."""
        section = self.sections.get(fleet)
        member = section.members.get(device_id) if section else None
        return (section, member) if section and member else None

    def find_anywhere(self, device_id: str) -> tuple[Section, Member] | None:
        """A device by its id alone, one that is not retired before any other, or None."""
        found = [
            (section, section.members[device_id])
            for section in self.sections.values()
            if device_id in section.members
        ]
        return min(found, key=lambda pair: pair[1].retired, default=None)


def _releases(change: FleetChanges) -> set[tuple[str, int]]:
    releases: list[Release] = [baseline.release for baseline in change.fleet.baselines]
    if change.live is not None:
        releases.append(change.live.plan.release)
    return {(release.name, release.version) for release in releases}
