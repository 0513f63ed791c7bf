"""Plans: what is wrong with one is said in full."""

from dataclasses import replace
from typing import Any

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.domain.plan import (
    DEFAULT_GATES,
    DEFAULT_WAVES,
    MOST,
    Gate,
    Wave,
    check_plan,
    default_waves,
    gate_alpha,
)
from tests.support.rollout_samples import a_plan


def test_the_defaults_make_a_plan():
    plan = a_plan(waves=DEFAULT_WAVES, gates=DEFAULT_GATES, control_share=0.1)
    assert check_plan(plan) == plan
    assert sum(gate_alpha(plan, gate) for gate in plan.gates) == pytest.approx(plan.alpha)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"waves": ()}, "at least one wave"),
        ({"gates": ()}, "at least one gate"),
        ({"target": "site = A"}, "position 5"),
        ({"control_share": 0.6}, "control_share is 0.6"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"soak_s": -1.0}, "soak_s is -1"),
        ({"soak_s": 10.0, "silence_s": 10.0}, "longer than soak_s"),
        ({"min_examples": 0}, "min_examples is 0"),
        ({"waves": (Wave(),)}, "wave 1 needs either a share or a count"),
        ({"waves": (Wave(share=0.1, count=3),)}, "wave 1 needs either"),
        ({"waves": (Wave(share=1.5),)}, "wave 1 has share 1.5"),
        ({"waves": (Wave(count=0),)}, "wave 1 has count 0"),
        ({"waves": (Wave(share=0.2), Wave(share=0.2))}, "wave 2 is not larger"),
        ({"waves": (Wave(share=0.2, duration_s=9, timeout_s=8),)}, "times out after 8 s"),
        ({"waves": (Wave(share=0.2, min_devices=0),)}, "no data never passes"),
        ({"gates": (Gate("loss"), Gate("loss"))}, "gates repeat"),
        ({"gates": (Gate("speed"),)}, "'speed' is no metric"),
        ({"gates": (Gate("loss", proof=True),)}, "equality can never be proven"),
        ({"gates": (Gate("loss", limit=1.0),)}, "add quantile: 0.5"),
        ({"gates": (Gate("failure", quantile=0.9),)}, "a rate has no quantile"),
        ({"gates": (Gate("latency", quantile=1.0),)}, "quantile is 1"),
        ({"gates": (Gate("failure", limit=2.0),)}, "lies in (0, 1)"),
        ({"gates": (Gate("loss", weight=0.0),)}, "weight must be above 0"),
        ({"gates": (Gate("loss", tolerance=-1.0),)}, "tolerance must be 0 or more"),
        ({"control_share": 0.0}, "compares with control, but control_share is 0"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], complaint: str):
    with pytest.raises(RolloutError) as caught:
        check_plan(replace(a_plan(), **fields))
    assert complaint in str(caught.value)


def test_the_least_and_the_most_that_may_be_asked_for_are_taken():
    gates = (Gate("loss", tolerance=0.0, weight=1 / MOST), Gate("drift", tolerance=MOST, weight=MOST))
    waves = (Wave(count=1, min_devices=1, duration_s=0.0), Wave(share=1.0, min_devices=int(MOST)))
    plan = a_plan(gates=gates, waves=waves, soak_s=0.0, silence_s=MOST)
    assert check_plan(plan) == plan


def test_a_fleet_without_control_can_be_gated_by_limits():
    gates = (Gate("failure", limit=0.05), Gate("loss", quantile=0.5, limit=1.0))
    plan = a_plan(control_share=0.0, gates=gates)
    assert check_plan(plan) == plan
    assert [gate.name for gate in plan.gates] == ["failure at most 0.05", "loss p50 at most 1"]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (0, ["1 %", "10 %", "50 %"]),
        (1, ["1 device"]),
        (30, ["15 devices"]),
        (60, ["25 devices"]),
        (300, ["25 devices", "50 %"]),
        (600, ["25 devices", "10 %", "50 %"]),
        (100_000, ["1 %", "10 %", "50 %"]),
    ],
)
def test_waves_fit_the_fleet_where_none_are_named(devices: int, expected: list[str]):
    waves = default_waves(devices)
    assert [str(wave) for wave in waves] == expected
    assert check_plan(a_plan(waves=waves)).waves == waves
