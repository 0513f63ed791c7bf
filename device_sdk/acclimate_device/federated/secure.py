"""A device's part in a round whose sum alone the service learns (Bonawitz et al. 2017).

The service passes everything on and can read none of it: shares are sealed for their receiver, contributions
masked. What it can do is lie about who is there; so a device checks signatures, counts members against what
the signed round promised, and takes masks off once, of one list of survivors, which must be long enough.

Two in three members, and one more, must stay. No device alone, nor the service with fewer than a third of
a group, learns more than the sum.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from acclimate_device.errors import UntrustedError
from acclimate_device.federated import masks, shamir
from acclimate_device.protocol import (
    LIMITS,
    Dealing,
    Dealt,
    Joining,
    Member,
    Sign,
    Unmasking,
    dumps,
    payload_type,
    signed_bytes,
)

FEWEST = 3
"""Members below which a sum would tell one of another."""


def threshold(members: int) -> int:
    """Members of a group that must stay to the end: more than two thirds."""
    return 2 * members // 3 + 1


def fewest_members(quorum: int) -> int:
    """A group that is not the whole round is at least half as large as a group can be."""
    return max(FEWEST, min(quorum, LIMITS.group_devices // 2))


def check_member(member: Member, round_id: str) -> None:
    """Refuse keys that the device they are of did not sign for this round, or that are good for nothing.

    Raises:
        UntrustedError: see above.
    """
    joining = member.joining
    if joining.round != round_id:
        raise UntrustedError(f"{joining.device} joined round {joining.round}, not {round_id}")
    signed = signed_bytes(payload_type(Joining), dumps(joining))
    try:
        Ed25519PublicKey.from_public_bytes(masks.raw(member.identity)).verify(
            masks.raw(member.signature), signed
        )
    except InvalidSignature:
        raise UntrustedError(f"{joining.device} did not sign its keys for round {round_id}") from None
    for key in (joining.cipher_key, joining.mask_key):
        masks.check_agreeable(masks.raw(key))


class Participant:
    """One device in one round. Its secrets live as long as this object, and are written nowhere.

    Args:
        round_id: of the campaign.
        device: this one.
        identity: raw Ed25519 public key of its enrolment, whose private half `sign` uses.
        known: raw identities of the devices that the owner trusts to be devices; None trusts the service in
            that.
    """

    def __init__(
        self,
        round_id: str,
        device: str,
        identity: bytes,
        sign: Sign,
        known: frozenset[bytes] | None = None,
    ) -> None:
        self._round, self._device, self._known = round_id, device, known
        self._cipher, self._mask = (X25519PrivateKey.generate() for _ in range(2))
        self._seed = os.urandom(shamir.SECRET_BYTES)
        cipher, mask = (key.public_key().public_bytes_raw() for key in (self._cipher, self._mask))
        own = hashlib.sha256(self._seed).hexdigest()
        joining = Joining(round_id, device, masks.text(cipher), masks.text(mask), own)
        signature = sign(signed_bytes(payload_type(Joining), dumps(joining)))
        self.member = Member(masks.text(identity), joining, masks.text(signature))
        """This device, for the others."""
        self._group: dict[str, Joining] = {}
        self._dealing: Dealing | None = None
        self._held: dict[str, tuple[bytes, bytes]] = {}  # by who dealt them
        self._masked: bytes | None = None
        self._unmasking: tuple[frozenset[str], Unmasking] | None = None

    def deal(self, members: Sequence[Member], quorum: int) -> Dealing:
        """Shares of this device's secrets for its group; the same at every call.

        Raises:
            UntrustedError: too few members, two of one name or key, a false signature, or this device is not
                among them as it joined.
        """
        if self._dealing is None:
            self._check_group(members, quorum)
            self._group = {member.joining.device: member.joining for member in members}
            names, enough = sorted(self._group), threshold(len(members))
            own = shamir.split(self._seed, len(names), enough)
            key = shamir.split(self._mask.private_bytes_raw(), len(names), enough)
            dealt = {
                name: Dealt(
                    masks.seal_shares(self._agreed(name, sending=True), one, other),
                    masks.digest(one),
                    masks.digest(other),
                )
                for name, one, other in zip(names, own, key, strict=True)
            }
            self._dealing = Dealing(self._round, dealt)
        return self._dealing

    def masked(
        self,
        values: NDArray[np.int32],
        sealed: Mapping[str, str],
        noise: float = 0.0,
        gauss: Callable[[int], NDArray[np.float64]] | None = None,
    ) -> bytes:
        """The contribution as it leaves the device, little-endian; the same at every call.

        Args:
            values: `(p,)` integers.
            sealed: what was dealt to this device, by who dealt it.
            noise: standard deviation, in those integers' units, of the noise on the sum of a whole group; as
                many devices as must stay bring it together.

        Raises:
            UntrustedError: shares that were changed, of strangers, or of too few.
        """
        if self._masked is None:
            enough = threshold(len(self._group))
            if not self._group.keys() >= sealed.keys() or len(sealed) < enough or self._device not in sealed:
                raise UntrustedError(f"round {self._round}: {len(sealed)} of the group dealt, {enough} must")
            self._held = {
                name: masks.open_shares(self._agreed(name, sending=False), one, name)
                for name, one in sealed.items()
            }
            total = values.astype(np.uint32) + masks.expanded(self._seed, len(values))
            if noise:
                draw = (gauss or gauss_of_the_system)(len(values)) * (noise / enough**0.5)
                total += np.rint(draw).astype(np.int64).astype(np.uint32)
            for name in sorted(self._held.keys() - {self._device}):
                key = masks.raw(self._group[name].mask_key)
                total += masks.pair_mask(self._mask, key, self._round, self._device, name, len(values))
            self._masked = total.astype("<u4").tobytes()
        return self._masked

    def unmask(self, survivors: Sequence[str]) -> Unmasking:
        """What takes the masks off the survivors' sum. This device says it once, of one list.

        Raises:
            UntrustedError: too few survive, strangers, without this device, or another list than before:
                answering both would show both secrets of a device.
        """
        wanted = frozenset(survivors)
        if self._unmasking is None:
            enough = threshold(len(self._group))
            if not self._held.keys() >= wanted or len(wanted) < enough or self._device not in wanted:
                raise UntrustedError(f"round {self._round}: {len(wanted)} survive, of which {enough} must")
            own = {name: self._held[name][0].hex() for name in sorted(wanted)}
            keys = {name: self._held[name][1].hex() for name in sorted(self._held.keys() - wanted)}
            self._unmasking = wanted, Unmasking(self._round, own, keys)
        if self._unmasking[0] != wanted:
            raise UntrustedError(f"round {self._round}: asked to unmask a second list of survivors")
        return self._unmasking[1]

    def _check_group(self, members: Sequence[Member], quorum: int) -> None:
        for member in members:
            check_member(member, self._round)
        names, keys = ({getattr(one.joining, what) for one in members} for what in ("device", "mask_key"))
        identities = {member.identity for member in members}
        if not len(names) == len(keys) == len(identities) == len(members) or self.member not in members:
            raise UntrustedError(f"round {self._round}: the group names a device twice, or not this one")
        if len(members) < fewest_members(quorum):
            raise UntrustedError(
                f"round {self._round}: a group of {len(members)}, and the round promised "
                f"{fewest_members(quorum)}"
            )
        if self._known is not None:
            known = sum(masks.raw(one) in self._known for one in identities)
            if known < threshold(len(members)):
                raise UntrustedError(
                    f"round {self._round}: of {len(members)} members {known} are among `peers`, and "
                    f"{threshold(len(members))} must be"
                )

    def _agreed(self, peer: str, sending: bool) -> bytes:
        first, second = (self._device, peer) if sending else (peer, self._device)
        key = masks.raw(self._group[peer].cipher_key)
        return masks.agreed(self._cipher, key, "share", self._round, first, second)


def gauss_of_the_system(count: int) -> NDArray[np.float64]:
    """Normal noise `(count,)` of deviation 1, seeded by the operating system."""
    return np.random.Generator(np.random.PCG64(secrets.randbits(256))).normal(size=count)
