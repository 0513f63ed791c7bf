"""What a device and the service say to each other when a fleet learns together."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Literal

from acclimate_device.errors import ProtocolError
from acclimate_device.protocol.codec import Number, Text
from acclimate_device.protocol.limits import LIMITS
from acclimate_device.protocol.messages import Count, Moment, Name, Release

ROUND_PATH = "/device/v1/round"
CONTRIBUTION_PATH = "/device/v1/contributions"

Numbers = Annotated[int, Number(1, LIMITS.contribution_numbers)]


@dataclass(frozen=True)
class Round:
    """What a fleet's devices are asked for: in an envelope signed with the service's key.

    Attributes:
        id: of the campaign.
        fleet: whose devices are asked.
        release: whose features the moments are of, or whose start the gradients; a device that runs another
            gives none.
        kind: `moments`, or `gradients`: how far the bundle's steps of adaptation go, see
            `acclimate_device.federated`. With `secure-` before it the service learns their sum alone, and
            devices take the turns of `acclimate_device.protocol.secure` before they give any.
        numbers: in what a device gives.
        clip: longest vector that a device sends, L2.
        bits: after the point of the integers it sends.
        labels: a device with fewer labelled examples gives nothing.
        quorum: devices without which the round is void, and spends nothing.
        closes_at: Unix seconds.
        epsilon: most of its privacy that a device spends; 0 says that there is no noise and so no bound.
        delta: chance that this bound does not hold.
        noise: with `secure-`, what devices add together, in units of `clip`.
    """

    id: Name
    fleet: Name
    release: Release
    numbers: Numbers
    clip: Annotated[float, Number(1e-6, 1e6)]
    bits: Annotated[int, Number(0, 24)]
    labels: Count
    quorum: Count
    closes_at: Moment
    epsilon: Annotated[float, Number(0.0)] = 0.0
    delta: Annotated[float, Number(0.0, 1.0)] = 0.0
    kind: Literal["moments", "secure-moments", "gradients", "secure-gradients"] = "moments"
    noise: Annotated[float, Number(0.0, 1e6)] = 0.0
    schema: Literal[1] = 1

    @property
    def hides(self) -> bool:
        """Whether the service learns the sum alone."""
        return self.kind.startswith("secure-")


@dataclass(frozen=True)
class Contribution:
    """What one device gives to a round.

    Attributes:
        round: the campaign's id.
        values: 32-bit integers, little-endian, in base64.
        right, tried: of every fourth of its examples, held back, how many it classifies right after learning
            the others from the release's start; 0 where there are no classes, and where the round promises a
            bound or to hide what each device gives.
    """

    round: Name
    values: Annotated[str, Text(r"[A-Za-z0-9+/]*=*", max_length=16 * LIMITS.contribution_numbers // 3 + 8)]
    right: Annotated[int, Number(0, LIMITS.held_back)] = 0
    tried: Annotated[int, Number(0, LIMITS.held_back)] = 0
    schema: Literal[1] = 1

    @staticmethod
    def of(campaign: str, values: bytes, right: int = 0, tried: int = 0) -> Contribution:
        """Of little-endian 32-bit integers."""
        return Contribution(campaign, base64.b64encode(values).decode(), right, tried)

    @property
    def raw(self) -> bytes:
        """The integers' bytes.

        Raises:
            ProtocolError: no base64, or no whole number of integers.
        """
        try:
            raw = base64.b64decode(self.values, validate=True)
        except binascii.Error as error:
            raise ProtocolError(f"Contribution.values: not base64 ({error})") from None
        if len(raw) % 4:
            raise ProtocolError(f"Contribution.values: {len(raw)} bytes are no 32-bit integers")
        return raw
