"""What devices gave: refused where it is not what was asked for, else added up with the noise promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acclimate.rollout.domain.contributions import check_runs, checked, combined
from acclimate_device.errors import ProtocolError
from acclimate_device.federated import FixedPoint
from acclimate_device.protocol import Contribution, Release
from tests.unit.rollout.domain.test_campaign import PLAIN

CAMPAIGN = replace(PLAIN, aggregator="mean", parameters=4, clip=2.0)
GRID = FixedPoint(CAMPAIGN.bits)


def given(values: list[float], **fields: int) -> Contribution:
    raw = GRID.rounded(np.array(values)).astype("<i4").tobytes()
    return Contribution.of("one", raw, **fields)


def test_a_contribution_as_long_as_the_clip_is_taken_and_a_longer_one_refused() -> None:
    values, norm = checked(CAMPAIGN, given([1.0, 1.0, 1.0, 1.0]))
    assert GRID.restored(values).tolist() == [1.0] * 4
    assert norm == 2.0
    checked(CAMPAIGN, given([2.0 * (1 + 5e-7), 0.0, 0.0, 0.0]))  # rounding of a float
    with pytest.raises(ProtocolError, match="above the clip of 2"):
        checked(CAMPAIGN, given([2.0 * (1 + 5e-6), 0.0, 0.0, 0.0]))
    coarse = replace(CAMPAIGN, bits=8)
    at_a_corner = FixedPoint(8).rounded(np.full(4, 1.0 + 2.0**-9)).astype("<i4").tobytes()
    checked(coarse, Contribution.of("one", at_a_corner))
    with pytest.raises(ProtocolError, match="3 numbers, and the round asks for 4"):
        checked(CAMPAIGN, given([0.0] * 3))
    checked(CAMPAIGN, given([0.0] * 4, right=2, tried=2))
    with pytest.raises(ProtocolError, match="3 right of 2 held-back examples"):
        checked(CAMPAIGN, given([0.0] * 4, right=3, tried=2))


def test_a_mean_is_over_those_who_gave_and_with_noise_over_the_quorum() -> None:
    values = [checked(CAMPAIGN, given([each, 0.0, 0.0, 1.0]))[0] for each in (1.0, 0.5)]
    assert combined(CAMPAIGN, values, np.ones).tolist() == [0.75, 0.0, 0.0, 1.0]
    noisy = replace(CAMPAIGN, noise=5.0, quorum=4)  # deviation 5 times the clip on the sum
    assert combined(noisy, values, np.ones).tolist() == [0.375 + 2.5, 2.5, 2.5, 0.5 + 2.5]
    robust = replace(CAMPAIGN, aggregator="geometric-median")
    assert combined(robust, values * 3, np.ones) == pytest.approx([0.75, 0.0, 0.0, 1.0], abs=1e-6)


def test_only_a_device_that_runs_the_release_may_give() -> None:
    check_runs(CAMPAIGN, CAMPAIGN.release)
    for other in (None, replace(CAMPAIGN.release, version=3), Release("gait", 2, "c" * 64)):
        with pytest.raises(ProtocolError, match="which this device does not run"):
            check_runs(CAMPAIGN, other)
