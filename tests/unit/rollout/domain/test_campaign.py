"""A campaign's rules: what may be opened, what fits into its sums, and what counts as spent."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.domain.campaign import Campaign, Contributor, bits_of, check, moved, noises_of
from acclimate_device.protocol import LIMITS
from tests.support.rollout_samples import NOW

PLAIN = Campaign("one", "home", "gait", 2, "b" * 64, 4, 2, NOW, NOW + 60.0, "ada", "holder", NOW)
SECURE = replace(PLAIN, secure=True, aggregator="mean")


def test_a_campaign_begins_open_and_with_nothing_counted() -> None:
    counted = (PLAIN.accepted, PLAIN.clipped, PLAIN.joined, PLAIN.right_after, PLAIN.tried_after)
    assert (PLAIN.state, PLAIN.detail, counted) == ("open", "", (0, 0, 0, 0, 0))
    assert (PLAIN.norm_median, PLAIN.norm_p90, PLAIN.noise, PLAIN.parameters) == (0.0, 0.0, 0.0, 0)
    assert (PLAIN.clip, PLAIN.bits, PLAIN.delta, PLAIN.quorum) == (2.0, 24, 1e-5, 10)


@pytest.mark.parametrize(("features", "outputs", "numbers"), [(4, 2, 18), (5, 3, 30), (1, 1, 2)])
def test_a_device_gives_half_a_square_of_products_and_one_vector_an_output(
    features: int, outputs: int, numbers: int
) -> None:
    assert replace(PLAIN, features=features, outputs=outputs).numbers == numbers
    assert replace(PLAIN, features=features, outputs=outputs, parameters=7).numbers == 7


def test_devices_are_told_what_they_spend_and_nothing_of_it_where_no_bound_holds() -> None:
    told = PLAIN.round()
    assert (told.kind, told.epsilon, told.delta, told.noise) == ("moments", 0.0, 0.0, 0.0)
    noisy = replace(PLAIN, noise=8.0, aggregator="mean")
    told = noisy.round()
    assert (told.epsilon, told.delta, told.noise) == (noisy.epsilon, 1e-5, 0.0)
    assert 0.0 < told.epsilon < 1.0
    told = replace(noisy, secure=True, parameters=7).round()
    assert (told.kind, told.noise, told.numbers) == ("secure-gradients", 8.0, 7)
    assert (replace(PLAIN, parameters=7).round().kind, SECURE.round().kind) == ("gradients", "secure-moments")


@pytest.mark.parametrize(("clip", "noise"), [(2.0, 0.0), (2.0, 8.0), (100.0, 20.0), (0.01, 0.0)])
def test_a_secure_sum_of_a_full_group_fits_into_32_bits_and_loses_no_bit_for_it(
    clip: float, noise: float
) -> None:
    assert bits_of(clip, noise, secure=False) == 24
    longest = LIMITS.group_devices * clip + 13 * noise * clip
    bits = bits_of(clip, noise, secure=True)
    assert longest * 2.0**bits < 2.0**31
    assert bits == 24 or longest * 2.0 ** (bits + 1) >= 2.0**31 - 1


@pytest.mark.parametrize("aggregator", ["clipped-mean", "trimmed-mean", "geometric-median", "multi-krum"])
def test_only_a_mean_can_be_hidden_or_noised(aggregator: str) -> None:
    check(SECURE, None)
    check(replace(PLAIN, aggregator=aggregator), None)
    with pytest.raises(RolloutError, match=f"{aggregator} needs to see what each device gives"):
        check(replace(SECURE, aggregator=aggregator), None)
    check(replace(PLAIN, aggregator="mean", noise=1.0), None)
    with pytest.raises(RolloutError, match=f"noise protects nobody with aggregator {aggregator}"):
        check(replace(PLAIN, aggregator=aggregator, noise=1.0), None)


def test_the_widest_body_and_the_coarsest_integers_are_taken_and_nothing_beyond() -> None:
    most = LIMITS.contribution_numbers
    check(replace(PLAIN, parameters=most), None)
    with pytest.raises(RolloutError, match=f"{most + 1} numbers and at most {most} are taken"):
        check(replace(PLAIN, parameters=most + 1), None)
    check(replace(SECURE, bits=8), None)
    with pytest.raises(RolloutError, match="do not fit into sums of 32 bits"):
        check(replace(SECURE, bits=7), None)


def test_a_device_spends_up_to_each_cap_and_not_beyond() -> None:
    noisy = replace(PLAIN, noise=4.0, aggregator="mean")
    spends = noisy.epsilon
    check(noisy, most_epsilon=spends, cap=spends)
    with pytest.raises(RolloutError, match=r"above the cap of .*: raise noise or the cap"):
        check(noisy, most_epsilon=0.99 * spends)
    with pytest.raises(RolloutError, match=r"would spend epsilon .* cap over all campaigns"):
        check(noisy, most_epsilon=None, cap=0.99 * spends)
    with pytest.raises(RolloutError, match="without noise what no bound holds"):
        check(PLAIN, most_epsilon=None, cap=100.0)
    assert math.isinf(PLAIN.epsilon)


def test_a_device_spent_the_noise_of_campaigns_that_were_done_and_took_what_it_gave() -> None:
    done = replace(PLAIN, state="done", noise=3.0)
    void = replace(PLAIN, id="two", state="void", noise=5.0)
    given = [
        Contributor("home", "d-1", "one", NOW, 0, ""),
        Contributor("home", "d-2", "one", None, 1, "too long"),
        Contributor("home", "d-1", "two", NOW, 0, ""),
        Contributor("home", "d-3", "forgotten", NOW, 0, ""),
    ]
    assert noises_of([done, void], given) == {"d-1": [3.0]}
    later = replace(done, id="two")
    assert noises_of([done, later], given) == {"d-1": [3.0, 3.0]}


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        ("pause", {"open": "paused"}),
        ("resume", {"paused": "open"}),
        ("stop", {"open": "stopped", "paused": "stopped"}),
    ],
)
def test_only_a_live_campaign_moves(operation: str, after: dict[str, str]) -> None:
    for state in ("open", "paused", "done", "void", "stopped"):
        campaign = replace(PLAIN, state=state)
        assert campaign.live == (state in ("open", "paused"))
        if state in after:
            assert moved(campaign, operation).state == after[state]
        else:
            with pytest.raises(RolloutError, match=f"one is {state}: it cannot {operation}"):
                moved(campaign, operation)
