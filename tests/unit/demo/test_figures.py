import math
from types import SimpleNamespace

import pytest

from acclimate.demo.figures import accuracy, arms_of, owners
from acclimate.demo.people import CONSENTING, STRANGERS, TRAINED
from acclimate.rollout.domain.evidence import Observation


def report(examples, mistakes):
    return SimpleNamespace(
        start_loss=SimpleNamespace(count=examples), adapted_loss=SimpleNamespace(count=0), mistakes=mistakes
    )


def outcome(*devices):
    return SimpleNamespace(
        started_at=1000.0,
        devices=[
            SimpleNamespace(device_id=f"d-{i}", task=task, reports=reports)
            for i, (task, reports) in enumerate(devices)
        ],
    )


def test_accuracy_counts_examples_not_reports_within_the_moments():
    told = outcome(
        ("person-06-right", [(1005.0, report(10, 1)), (1015.0, report(90, 0)), (1030.0, report(5, 5))]),
        ("person-07-right", [(1012.0, report(0, 0))]),
    )
    assert accuracy(told, 0, 20) == pytest.approx(0.99)
    assert accuracy(told, 20, 30) == 0.0
    assert math.isnan(accuracy(told, 40, 50))


def observation(device, arm, loss_sum, order=1):
    return Observation(device, arm, 1, 0.0, 1, "a" * 64, order=order, examples=10, loss_sum=loss_sum)


def test_arms_are_told_apart_by_owner_and_only_settled_devices_count():
    told = outcome(("person-06-left", []), ("person-06-left", []), ("person-09-left", []))
    seen = [
        observation("d-0", "canary", 2.0),
        observation("d-1", "control", 4.0),
        observation("d-2", "canary", 9.0),
        observation("d-1", "canary", 99.0, order=None),
    ]
    arms = arms_of(seen, owners(told), CONSENTING)
    assert (arms.canaries, arms.controls, arms.canary_loss, arms.control_loss) == (1, 1, 0.2, 0.4)
    assert math.isnan(arms_of(seen, owners(told), STRANGERS).control_loss)


def test_nobody_is_trained_on_and_judged():
    groups = [set(TRAINED), set(CONSENTING), set(STRANGERS)]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 10
