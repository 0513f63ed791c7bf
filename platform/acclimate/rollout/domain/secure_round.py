"""A round whose sum alone is learnt, over time: devices join, groups are made, each takes its turns.

A turn ends when everybody it waits for has answered, or when its part of the campaign's time is over. Groups
are drawn at random, so that nobody chooses beside whom a device stands. A group that loses too many is lost,
the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import RolloutError
from acclimate.rollout.domain.campaign import Campaign
from acclimate.secure_sum import SecureSum, SumLostError
from acclimate_device.errors import ProtocolError
from acclimate_device.federated.secure import check_member
from acclimate_device.protocol import LIMITS, Dealing, Member, Turn, Unmasking

Phase = Literal["join", "deal", "mask", "unmask", "over"]
_SHARES: dict[Phase, float] = {"join": 0.4, "deal": 0.6, "mask": 0.8, "unmask": 1.0, "over": 1.0}
"""When each ends, of the campaign's time."""
_AFTER: dict[Phase, Phase] = {"join": "deal", "deal": "mask", "mask": "unmask", "unmask": "over"}


@dataclass(frozen=True, slots=True)
class Sum:
    """What came of a round: the total of so many devices, and groups that were lost, with why."""

    total: NDArray[np.int64]
    devices: frozenset[str]
    lost: tuple[str, ...]


class SecureRound:
    """See the module. Everything is in memory; it is gone with the process, and the round with it.

    Args:
        shuffle: puts members in a random order, in place.
    """

    def __init__(self, campaign: Campaign, shuffle: Callable[[list[Member]], None]) -> None:
        self._campaign, self._shuffle = campaign, shuffle
        self.phase: Phase = "join"
        self._joined: dict[str, Member] = {}
        self._groups: list[SecureSum] = []
        self._lost: list[str] = []
        self._added, self._devices = 0, set[str]()
        self._total = np.zeros(campaign.numbers, np.int64)

    @property
    def joined(self) -> int:
        """Devices that joined."""
        return len(self._joined)

    @property
    def contributed(self) -> int:
        """Devices whose contributions are in a sum that is not lost."""
        return sum(len(group.survivors) for group in self._groups)

    @property
    def ends_at(self) -> float:
        """When the phase ends at the latest, in Unix seconds."""
        of = self._campaign
        return of.opened_at + _SHARES[self.phase] * (of.closes_at - of.opened_at)

    def turn(self, device: str) -> Turn | None:
        """What is wanted of a device now; None of one that is not, or no more, part of it."""
        name = self._campaign.id
        if self.phase == "join":
            return Turn(name, "join", self.ends_at)
        group = self._of(device)
        if group is None or self.phase == "over":
            return None
        if self.phase == "deal":
            if device in group.dealers:
                return Turn(name, "wait", self.ends_at)
            return Turn(name, "deal", self.ends_at, members=tuple(group.members.values()))
        if device not in (group.dealers if self.phase == "mask" else group.survivors):
            return None
        if self.phase == "mask":
            if device in group.survivors:
                return Turn(name, "wait", self.ends_at)
            return Turn(name, "mask", self.ends_at, sealed=group.sealed_for(device))
        if device in group.unmaskers:
            return None
        return Turn(name, "unmask", self.ends_at, survivors=tuple(sorted(group.survivors)))

    def join(self, device: str, identity: str, member: Member) -> None:
        """Take a device's keys; those it sent last, until groups are made.

        Args:
            identity: the key it is enrolled with, in base64.

        Raises:
            RolloutError: the groups are made already.
            ProtocolError, UntrustedError: the keys are another's, or not signed with that key.
        """
        self._in("join")
        if member.joining.device != device or member.identity != identity:
            raise ProtocolError(f"Member: the keys of {member.joining.device}, which did not send them")
        check_member(member, self._campaign.id)
        self._joined[device] = member

    def deal(self, device: str, dealing: Dealing) -> None:
        """Take a device's shares.

        Raises:
            RolloutError: not now. ProtocolError: see `SecureSum.deal`.
        """
        self._in("deal")
        self._member_of(device).deal(device, dealing)

    def mask(self, device: str, values: NDArray[np.uint32]) -> None:
        """Add a device's masked contribution.

        Raises:
            RolloutError: not now. ProtocolError: see `SecureSum.mask`.
        """
        self._in("mask")
        self._member_of(device).mask(device, values)

    def unmask(self, device: str, given: Unmasking) -> None:
        """Take what removes masks.

        Raises:
            RolloutError: not now. ProtocolError: see `SecureSum.unmask`.
        """
        self._in("unmask")
        self._member_of(device).unmask(device, given)

    def step(self, now: float) -> None:
        """Go on to the next phase where this one is over.

        Raises:
            SumLostError: too few devices are left for the quorum.
        """
        while self.phase != "over" and (now >= self.ends_at or self._all_answered()):
            if self.phase == "join":
                self._groups = self._grouped()
            self._drop({"join": "members", "deal": "dealers", "mask": "survivors"}.get(self.phase))
            self.phase = _AFTER[self.phase]

    def add_next(self) -> bool:
        """Take the masks off one more group's sum, which costs seconds where many dropped out; whether there
        was one left."""
        if self._added == len(self._groups):
            return False
        group = self._groups[self._added]
        self._added += 1
        try:
            self._total += group.total()
            self._devices |= group.survivors
        except SumLostError as error:
            self._lost.append(str(error))
        return True

    def result(self) -> Sum:
        """The sum of all groups that kept enough devices, once there is none left to add.

        Raises:
            SumLostError: too few devices for the quorum.
        """
        self._check_quorum(len(self._devices), "contributed")
        return Sum(self._total, frozenset(self._devices), tuple(self._lost))

    def _grouped(self) -> list[SecureSum]:
        self._check_quorum(len(self._joined), "joined")
        members = list(self._joined.values())
        self._shuffle(members)
        parts = math.ceil(len(members) / LIMITS.group_devices)
        of = self._campaign
        return [SecureSum(of.id, members[number::parts], of.numbers) for number in range(parts)]

    def _drop(self, what: str | None) -> None:
        """Leave the groups in which too few answered."""
        if what is None:
            return
        left = [group for group in self._groups if len(getattr(group, what)) >= group.enough]
        self._lost += [
            f"{len(getattr(group, what))} of {group.enough} devices stayed"
            for group in self._groups
            if group not in left
        ]
        self._groups = left
        self._check_quorum(sum(len(getattr(group, what)) for group in left), "stayed")

    def _all_answered(self) -> bool:
        pairs: dict[Phase, list[tuple[Collection[str], Collection[str]]]] = {
            "deal": [(group.members, group.dealers) for group in self._groups],
            "mask": [(group.dealers, group.survivors) for group in self._groups],
            "unmask": [(group.survivors, group.unmaskers) for group in self._groups],
        }
        return self.phase in pairs and all(len(asked) == len(came) for asked, came in pairs[self.phase])

    def _check_quorum(self, devices: int, did: str) -> None:
        if devices < self._campaign.quorum:
            why = f" ({'; '.join(self._lost)})" if self._lost else ""
            raise SumLostError(f"{devices} of {self._campaign.quorum} devices {did}{why}")

    def _in(self, phase: Phase) -> None:
        if self.phase != phase:
            raise RolloutError(f"the round is in its phase {self.phase}, not in {phase}")

    def _of(self, device: str) -> SecureSum | None:
        return next((group for group in self._groups if device in group.members), None)

    def _member_of(self, device: str) -> SecureSum:
        group = self._of(device)
        if group is None:
            raise RolloutError(f"device {device} has no part in this round")
        return group
