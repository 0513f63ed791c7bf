"""The attacker reads reports, knows the parameters and every example that may have been labelled."""

import numpy as np
import pytest

from acclimate_device import OnlinePolicy
from acclimate_device.protocol import Release, Report, Summary
from acclimate_device.telemetry import FEWEST, Recorder, Sketch, merge_reports, resources
from acclimate_device.testing import GestureDevice
from tests.unit.device.test_device import device
from tests.unit.device.test_queue import report
from tests.unit.device.test_realign import REALIGN, Drifted, acclimated, learn, watch

RELEASE = Release("gestures", 1, "0" * 64)
WINDOWS = 3472


def losses() -> list[float]:
    """Of every candidate example, under the start, as the attacker computes them."""
    active = device()._life.active
    schema = active.schema
    found = []
    for seed in range(14):
        examples = list(GestureDevice(seed).examples(WINDOWS // 14))
        x = np.stack([schema.normalize(schema.input(x)) for x, _ in examples])
        y = schema.normalize_targets([schema.target(y) for _, y in examples])
        found += schema.losses(active.outputs(x), y).tolist()
    return found


def window(values: list[float]) -> Summary:
    recorder = Recorder(0.0)
    for value in values:
        recorder.labelled(value, adapted=False, mistaken=False)
    return recorder.close("0" * 32, 60.0, 60.0, RELEASE, 1, "a", resources()).start_loss


def test_nothing_leaves_of_fewer_than_eight_losses() -> None:
    for count in range(FEWEST):
        assert window([0.123456] * count) == Summary()
    assert window([0.123456] * FEWEST).count == FEWEST


@pytest.mark.parametrize("others", [0, FEWEST - 1])
def test_at_most_one_of_twenty_examples_is_told_from_a_report(others: int) -> None:
    """Of a window with one example, and of one where the attacker knows all the others."""
    candidates = losses()
    assert len(candidates) == WINDOWS
    rng = np.random.default_rng(0)
    known = [candidates[at] for at in rng.integers(0, WINDOWS, others)]
    told: dict[Summary, int] = {}
    reports = [window([*known, candidate]) for candidate in candidates]
    for one in reports:
        told[one] = told.get(one, 0) + 1
    identified = sum(told[one] == 1 for one in reports) / WINDOWS
    print(f"privacy: {identified:.1%} of {WINDOWS} examples identified beside {others} known ones")
    assert identified <= 0.05


def test_losses_that_wait_are_told_with_those_that_follow() -> None:
    recorder, under = Recorder(0.0), (RELEASE, 1, "a", resources())
    for _ in range(5):
        recorder.labelled(0.5, adapted=True, mistaken=True)
    first = recorder.close("0" * 32, 60.0, 60.0, *under)
    for _ in range(5):
        recorder.labelled(0.5, adapted=True, mistaken=False)
    second = recorder.close("1" * 32, 120.0, 120.0, *under)
    assert (first.adapted_loss.count, first.mistakes) == (0, 0)
    assert (second.adapted_loss.count, second.mistakes) == (10, 5)
    assert recorder.close("2" * 32, 180.0, 180.0, *under).adapted_loss.count == 0


def test_losses_that_wait_are_dropped_with_the_assignment_they_belong_to() -> None:
    recorder = Recorder(0.0)
    for counter in (1, 2, 3):
        for _ in range(FEWEST - 1):
            recorder.labelled(0.5, adapted=False, mistaken=False)
        made = recorder.close("0" * 32, 60.0, 60.0, RELEASE, counter, "a", resources())
        assert made.start_loss.count == 0


def test_sums_have_two_digits_and_the_maximum_tells_no_more_than_its_bucket() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        made = Sketch()
        values = rng.exponential(1.0, int(rng.integers(8, 300)))
        for value in values:
            made.add(float(value))
        told = made.veiled_summary()
        for number in (told.sum, told.sum_of_squares):
            assert number == float(f"{number:.2g}")
        assert told.sum == pytest.approx(values.sum(), rel=0.05)
        assert told.maximum / 2**0.25 <= values.max() <= told.maximum * (1 + 1e-6)


def test_events_tell_no_loss_of_few_examples() -> None:
    learner, stream = acclimated(1)
    watch(learner, Drifted(stream), 480)
    learn(learner, Drifted(stream), REALIGN.judge_from)
    learner.close()
    details = [event.detail for one in learner._life.keeping._queue.reports() for event in one.events]
    assert "held-back loss below that of inputs as they come" in details


def test_merging_veiled_reports_adds_no_digits() -> None:
    one, two = (report(number, start_loss=Summary(8, number, 0.1, 1.0, ((0, 8),))) for number in (0.1, 0.2))
    both: Report = merge_reports(one, two, "f" * 32)
    assert both.start_loss.sum == 0.3


def test_a_report_covers_a_quarter_of_an_hour_by_default() -> None:
    assert OnlinePolicy().report_s >= 900
