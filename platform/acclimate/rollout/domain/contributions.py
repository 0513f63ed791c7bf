"""What devices gave to a round: whether it is what was asked for, and what comes of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate.aggregation import AGGREGATORS
from acclimate.rollout.domain.campaign import Campaign
from acclimate_device.errors import ProtocolError
from acclimate_device.federated import FixedPoint
from acclimate_device.protocol import Contribution, Release

Integers = NDArray[np.int32]
Gauss = Callable[[int], NDArray[np.float64]]
"""Normal noise `(count,)` of deviation 1."""

AT_CLIP = 1e-6
"""A vector that was shortened has the clip's length, to rounding."""
LIARS = 0.2
"""Share of devices that trimmed-mean and multi-krum withstand."""


def combined(campaign: Campaign, values: Sequence[Integers], gauss: Gauss) -> NDArray[np.float64]:
    """One vector of all contributions, with the campaign's noise."""
    if campaign.aggregator != "mean":
        grid = FixedPoint(campaign.bits)
        return AGGREGATORS[campaign.aggregator](np.stack([grid.restored(one) for one in values]), LIARS)
    total = np.zeros(campaign.numbers, np.int64)
    for one in values:
        total += one
    mean = mean_of(campaign, total, len(values))
    if not campaign.noise:
        return mean
    return mean + gauss(len(mean)) * (campaign.noise * campaign.clip / campaign.quorum)


def mean_of(campaign: Campaign, total: NDArray[np.int64], devices: int) -> NDArray[np.float64]:
    """Of a sum; over the quorum where there is noise: the number of devices would tell of one."""
    return FixedPoint(campaign.bits).restored(total) / (campaign.quorum if campaign.noise else devices)


def checked(campaign: Campaign, given: Contribution) -> tuple[Integers, float]:
    """The integers of a contribution and their length.

    Raises:
        ProtocolError: they are not what the campaign asks for.
    """
    if given.right > given.tried:
        raise ProtocolError(f"{given.right} right of {given.tried} held-back examples")
    values = np.frombuffer(given.raw, "<i4").astype(np.int32)
    if len(values) != campaign.numbers:
        raise ProtocolError(f"{len(values)} numbers, and the round asks for {campaign.numbers}")
    norm = float(np.linalg.norm(FixedPoint(campaign.bits).restored(values)))
    rounding = 2.0 ** (-campaign.bits - 1) * len(values) ** 0.5
    if norm > campaign.clip * (1 + AT_CLIP) + rounding:
        raise ProtocolError(f"length {norm:.4g} is above the clip of {campaign.clip:g}")
    return values, norm


def check_runs(campaign: Campaign, runs: Release | None) -> None:
    """Refuse what comes of another release than the campaign is for.

    Raises:
        ProtocolError: see above.
    """
    if runs != campaign.release:
        raise ProtocolError(f"the round is for {campaign.release.path}, which this device does not run")
