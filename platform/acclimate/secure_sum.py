"""The service's part in a secure sum: what it learns is the sum, and it can learn no more.

One group of devices, see `acclimate_device.federated.secure`. Masked contributions are added up as they
come, so not even one of those is kept. Pure: messages in, a sum out; the rollout service and the simulation
drive it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from acclimate_device.errors import ProtocolError
from acclimate_device.federated import masks, shamir
from acclimate_device.federated.secure import threshold
from acclimate_device.protocol import Dealing, Member, Unmasking

Words = NDArray[np.uint32]


class SumLostError(Exception):
    """Too few stayed, or somebody dealt false shares: nothing is learnt."""


class SecureSum:
    """One group, whose members are settled.

    Args:
        round_id: of the campaign.
        members: at least three, each vouched for.
        numbers: in a contribution.
    """

    def __init__(self, round_id: str, members: Sequence[Member], numbers: int) -> None:
        self.round_id, self.numbers = round_id, numbers
        self.members = {one.joining.device: one for one in members}
        self.enough = threshold(len(members))
        self._points = {name: number for number, name in enumerate(sorted(self.members), 1)}
        self._dealt: dict[str, Dealing] = {}
        self._total = np.zeros(numbers, np.uint32)
        self._survivors: set[str] = set()
        self._unmaskings: dict[str, Unmasking] = {}

    @property
    def dealers(self) -> frozenset[str]:
        """Who dealt shares."""
        return frozenset(self._dealt)

    @property
    def survivors(self) -> frozenset[str]:
        """Whose contributions are in the sum."""
        return frozenset(self._survivors)

    @property
    def unmaskers(self) -> frozenset[str]:
        """Who took part in unmasking."""
        return frozenset(self._unmaskings)

    def sealed_for(self, device: str) -> dict[str, str]:
        """What was dealt to a device, by who dealt it."""
        return {sender: dealing.dealt[device].sealed for sender, dealing in self._dealt.items()}

    def deal(self, device: str, dealing: Dealing) -> None:
        """Take a member's shares; the first that it sends.

        Raises:
            ProtocolError: they are not for exactly the group.
        """
        if dealing.dealt.keys() != self.members.keys():
            raise ProtocolError(
                f"Dealing.dealt: for {len(dealing.dealt)} devices, the group has {len(self.members)}"
            )
        self._dealt.setdefault(device, dealing)

    def mask(self, device: str, values: Words) -> None:
        """Add a dealer's masked contribution; the first that it sends.

        Raises:
            ProtocolError: another number of numbers, or it dealt no shares.
        """
        if len(values) != self.numbers:
            raise ProtocolError(f"{len(values)} numbers, and the round asks for {self.numbers}")
        if device not in self._dealt:
            raise ProtocolError(f"device {device} dealt no shares, without which its masks would stay")
        if device not in self._survivors:
            self._total += values
            self._survivors.add(device)

    def unmask(self, device: str, given: Unmasking) -> None:
        """Take a survivor's shares; the first that it sends.

        Raises:
            ProtocolError: of other devices than asked for, or a share that nobody dealt.
        """
        dropped = self._dealt.keys() - self._survivors
        if device not in self._survivors:
            raise ProtocolError(f"device {device} gave no contribution")
        if given.self_masks.keys() != self._survivors or given.keys.keys() != dropped:
            raise ProtocolError("Unmasking: shares of others than survived and dropped out")
        for what, shares in (("self_mask", given.self_masks), ("key", given.keys)):
            for name, share in shares.items():
                if masks.digest(bytes.fromhex(share)) != getattr(self._dealt[name].dealt[device], what):
                    raise ProtocolError(f"Unmasking: the share of {name} is not the one it dealt")
        self._unmaskings.setdefault(device, given)

    def total(self) -> NDArray[np.int64]:
        """The survivors' sum, `(numbers,)`, exact where it fits into 32 bits.

        Raises:
            SumLostError: too few unmasked, or a member dealt false shares.
        """
        if len(self._unmaskings) < self.enough:
            raise SumLostError(f"{len(self._unmaskings)} of {self.enough} devices unmasked")
        given = {name: self._unmaskings[name] for name in sorted(self._unmaskings)[: self.enough]}
        at_zero = shamir.weights(tuple(self._points[name] for name in given))
        total = self._total.copy()
        for name in sorted(self._survivors):
            seed = self._secret(name, {one: each.self_masks for one, each in given.items()}, at_zero)
            if hashlib.sha256(seed).hexdigest() != self.members[name].joining.self_mask:
                raise SumLostError(f"device {name} dealt false shares of its own mask")
            total -= masks.expanded(seed, self.numbers)
        for name in sorted(self._dealt.keys() - self._survivors):
            secret = self._secret(name, {one: each.keys for one, each in given.items()}, at_zero)
            self._take_off(total, name, secret)
        return total.astype(np.int32).astype(np.int64)

    def _take_off(self, total: Words, dropped: str, secret: bytes) -> None:
        """The masks that the survivors share with one who dropped out."""
        key = X25519PrivateKey.from_private_bytes(secret)
        if key.public_key().public_bytes_raw() != masks.raw(self.members[dropped].joining.mask_key):
            raise SumLostError(f"device {dropped} dealt false shares of its key")
        for name in sorted(self._survivors):
            peer = masks.raw(self.members[name].joining.mask_key)
            total += masks.pair_mask(key, peer, self.round_id, dropped, name, self.numbers)

    def _secret(self, of: str, given: Mapping[str, Mapping[str, str]], at_zero: list[int]) -> bytes:
        try:
            return shamir.joined(
                {self._points[name]: bytes.fromhex(shares[of]) for name, shares in given.items()}, at_zero
            )
        except ValueError:
            raise SumLostError(f"device {of} dealt false shares") from None
