"""A campaign: one round in which a fleet's devices give moments of their examples, and what may become of it.

`open` takes contributions; `paused` announces nothing and still takes what devices have under way. It ends
`done`, with a result; `void`, without a quorum or without the process that held the contributions, and then
spends nothing; or `stopped` by a person.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from acclimate.errors import RolloutError
from acclimate.privacy import epsilon
from acclimate_device.federated import LEAST_EXAMPLES
from acclimate_device.protocol import LIMITS, Release, Round

State = Literal["open", "paused", "done", "void", "stopped"]
Aggregator = Literal["mean", "clipped-mean", "trimmed-mean", "geometric-median", "multi-krum"]
LIVE: tuple[State, ...] = ("open", "paused")
LEAST_QUORUM = 3
LEAST_BITS = 8
"""After the point, below which rounding would show."""
MOST_BITS = 24
_DEVIATIONS = 13.0
"""Of the noise, which a coordinate of a sum never reaches: ten, had nobody dropped out."""
FLAGGED_FROM = 3
"""Refused contributions of a device after which none is taken from it."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """See the module.

    Attributes:
        fleet: whose devices are asked.
        name, version, content_hash: of the release whose features are summed.
        features, outputs: of that release's last layer, the constant one counted; else 0.
        parameters: that move when a device adapts that release, of which it then gives the way; else 0.
        noise: on the sum, in units of `clip`; 0 for none.
        secure: whether devices mask what they give, so that their sum alone is learnt, and add the noise.
        holder: the process that keeps the contributions, `held_at` when it last said so.
        joined: devices of a secure round that joined it, as of `held_at`.
        accepted, clipped, norm_median, norm_p90: of contributions; the last three of unmasked ones.
        right_after, tried_after: held-back examples that devices classify right after adapting the release,
            and how many they tried; of rounds that promise neither a bound nor to hide anything.
    """

    id: str
    fleet: str
    name: str
    version: int
    content_hash: str
    features: int
    outputs: int
    opened_at: float
    closes_at: float
    created_by: str
    holder: str
    held_at: float
    aggregator: Aggregator = "clipped-mean"
    clip: float = 2.0
    bits: int = MOST_BITS
    noise: float = 0.0
    delta: float = 1e-5
    quorum: int = 10
    labels: int = LEAST_EXAMPLES
    state: State = "open"
    detail: str = ""
    accepted: int = 0
    clipped: int = 0
    norm_median: float = 0.0
    norm_p90: float = 0.0
    secure: bool = False
    parameters: int = 0
    joined: int = 0
    right_after: int = 0
    tried_after: int = 0

    @property
    def release(self) -> Release:
        """Which devices are asked: those that run it."""
        return Release(self.name, self.version, self.content_hash)

    @property
    def numbers(self) -> int:
        """In what a device gives, see `acclimate_device.federated`."""
        return self.parameters or self.features * (self.features + 1) // 2 + self.features * self.outputs

    @property
    def epsilon(self) -> float:
        """What a device spends that contributes; infinite without noise. A void round spends nothing."""
        return epsilon(self.noise, 1, self.delta)

    @property
    def live(self) -> bool:
        """Whether it still takes contributions."""
        return self.state in LIVE

    def round(self) -> Round:
        """What devices are told."""
        spent = self.epsilon
        return Round(
            id=self.id,
            fleet=self.fleet,
            release=self.release,
            numbers=self.numbers,
            clip=self.clip,
            bits=self.bits,
            labels=self.labels,
            quorum=self.quorum,
            closes_at=self.closes_at,
            epsilon=spent if math.isfinite(spent) else 0.0,
            delta=self.delta if math.isfinite(spent) else 0.0,
            kind=_KINDS[self.secure, self.parameters > 0],
            noise=self.noise if self.secure else 0.0,
        )


_KINDS: dict[tuple[bool, bool], Literal["moments", "secure-moments", "gradients", "secure-gradients"]] = {
    (False, False): "moments",
    (True, False): "secure-moments",
    (False, True): "gradients",
    (True, True): "secure-gradients",
}


@dataclass(frozen=True, slots=True)
class Contributor:
    """A device in a campaign: when its contribution was taken, how many were refused, the last why."""

    fleet: str
    device: str
    campaign: str
    accepted_at: float | None
    refusals: int
    reason: str


def bits_of(clip: float, noise: float, secure: bool) -> int:
    """After the point of the integers that devices send; a secure sum of a group has to fit into 32 bits."""
    if not secure:
        return MOST_BITS
    longest = clip * (LIMITS.group_devices + _DEVIATIONS * noise)
    return min(MOST_BITS, math.floor(math.log2((2**31 - 1) / longest)))


def check(campaign: Campaign, most_epsilon: float | None, cap: float = 0.0) -> None:
    """Refuse what could protect nobody, or would spend more than anybody agreed to.

    Args:
        most_epsilon: cap of a device in this campaign; None: no bound was asked for.
        cap: of a device in all campaigns together; 0 for none.

    Raises:
        RolloutError: which says why.
    """
    if campaign.numbers > LIMITS.contribution_numbers:
        raise RolloutError(
            f"a device would give {campaign.numbers} numbers and at most {LIMITS.contribution_numbers} are "
            "taken: use a narrower body"
        )
    if campaign.secure and campaign.aggregator != "mean":
        raise RolloutError(
            f"aggregator {campaign.aggregator} needs to see what each device gives, which secure hides: use "
            "mean"
        )
    if campaign.bits < LEAST_BITS:
        raise RolloutError(
            f"{LIMITS.group_devices} vectors of length {campaign.clip:g} with noise {campaign.noise:g} do "
            "not fit into sums of 32 bits: lower clip or noise"
        )
    if campaign.noise and campaign.aggregator != "mean":
        raise RolloutError(f"noise protects nobody with aggregator {campaign.aggregator}: use mean")
    if cap and campaign.epsilon > cap:
        spends = f"epsilon {campaign.epsilon:.3g}" if campaign.noise else "without noise what no bound holds"
        raise RolloutError(
            f"a device would spend {spends}, and the cap over all campaigns is {cap:g}: raise noise"
        )
    if most_epsilon is not None and campaign.epsilon > most_epsilon:
        raise RolloutError(
            f"a device would spend epsilon {campaign.epsilon:.3g}, above the cap of {most_epsilon:g}: raise "
            "noise or the cap"
        )


def noises_of(campaigns: Iterable[Campaign], contributors: Iterable[Contributor]) -> dict[str, list[float]]:
    """The noise of each campaign that a device was part of and that came to something, by device."""
    done = {one.id: one.noise for one in campaigns if one.state == "done"}
    found: dict[str, list[float]] = {}
    for one in contributors:
        if one.accepted_at is not None and one.campaign in done:
            found.setdefault(one.device, []).append(done[one.campaign])
    return found


def moved(campaign: Campaign, operation: str) -> Campaign:
    """After `pause`, `resume` or `stop`.

    Raises:
        RolloutError: its state does not allow that.
    """
    allowed: dict[str, tuple[tuple[State, ...], State]] = {
        "pause": (("open",), "paused"),
        "resume": (("paused",), "open"),
        "stop": (LIVE, "stopped"),
    }
    before, after = allowed[operation]
    if campaign.state not in before:
        raise RolloutError(
            f"campaign {campaign.id} is {campaign.state}: it cannot {operation}, only a campaign that is "
            f"{' or '.join(before)}"
        )
    return replace(campaign, state=after)
