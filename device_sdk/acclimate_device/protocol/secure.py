"""What devices tell one another, through the service, in a round whose sum alone the service learns.

Bonawitz et al. 2017 (https://doi.org/10.1145/3133956.3133982): every pair of devices agrees on a mask that
one adds and the other takes away, and each adds one of its own. Who drops out leaves masks behind, for which
the others hold shares of its secrets. See `acclimate_device.federated.secure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from acclimate_device.protocol.codec import Items, Text
from acclimate_device.protocol.limits import LIMITS
from acclimate_device.protocol.messages import DeviceId, Hash, Moment, Name

TURN_PATH = "/device/v1/round/turn"
JOINING_PATH = "/device/v1/round/members"
DEALING_PATH = "/device/v1/round/shares"
UNMASKING_PATH = "/device/v1/round/unmasking"

Raw32 = Annotated[str, Text(r"[A-Za-z0-9+/]{43}=", max_length=44)]
Raw64 = Annotated[str, Text(r"[A-Za-z0-9+/]{86}==", max_length=88)]
Share = Annotated[str, Text(r"[0-9a-f]{66}", max_length=66)]
Digest = Annotated[str, Text(r"[0-9a-f]{32}", max_length=32)]
Sealed = Annotated[str, Text(r"[A-Za-z0-9+/]{110}==", max_length=112)]
Shares = Annotated[Mapping[DeviceId, Share], Items(LIMITS.group_devices)]


@dataclass(frozen=True)
class Joining:
    """A device's keys for one round; what its signature in `Member` covers.

    Attributes:
        round: the campaign's id.
        device: who joins.
        cipher_key: X25519, for shares that others send it.
        mask_key: X25519, for the masks it has with others.
        self_mask: SHA-256 of the seed of its own mask, which shows later whether shares of it were true.
    """

    round: Name
    device: DeviceId
    cipher_key: Raw32
    mask_key: Raw32
    self_mask: Hash
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Member:
    """A device of a round, vouched for with the key it enrolled with.

    Attributes:
        identity: Ed25519, of its enrolment.
        joining: its keys.
        signature: Ed25519 over the type and canonical JSON of `joining`, see `signed_bytes`.
    """

    identity: Raw32
    joining: Joining
    signature: Raw64
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Dealt:
    """What one device deals another: shares of its two secrets.

    Attributes:
        sealed: both, AES-GCM under a key that the two alone know.
        self_mask, key: digests of the two shares, by which a false one is told when it is given back.
    """

    sealed: Sealed
    self_mask: Digest
    key: Digest


@dataclass(frozen=True)
class Dealing:
    """Shares of a device's secrets, for every other member of its group and for itself.

    Attributes:
        round: the campaign's id.
        dealt: by receiver.
    """

    round: Name
    dealt: Annotated[Mapping[DeviceId, Dealt], Items(LIMITS.group_devices)]
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Unmasking:
    """What takes the masks off a sum: of each device a share of one secret, never of both.

    Attributes:
        round: the campaign's id.
        self_masks: of those whose contributions are in the sum.
        keys: of those who dealt shares and then dropped out.
    """

    round: Name
    self_masks: Shares
    keys: Shares = field(default_factory=dict)
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Turn:
    """What a round wants of this device now.

    Attributes:
        round: the campaign's id.
        phase: `join` until its group is made, then `deal`, `mask` and `unmask`; `wait` in between.
        until: Unix seconds; who has not answered by then has dropped out.
        members: with `deal`, of the device's group.
        sealed: with `mask`, what others dealt to this device.
        survivors: with `unmask`, whose contributions came.
    """

    round: Name
    phase: Literal["join", "deal", "mask", "unmask", "wait"]
    until: Moment
    members: Annotated[tuple[Member, ...], Items(LIMITS.group_devices)] = ()
    sealed: Annotated[Mapping[DeviceId, Sealed], Items(LIMITS.group_devices)] = field(default_factory=dict)
    survivors: Annotated[tuple[DeviceId, ...], Items(LIMITS.group_devices)] = ()
    schema: Literal[1] = 1
