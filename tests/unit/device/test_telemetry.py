"""Windows of telemetry: what a recorder counts, what two reports add up to, and what a sketch remembers."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from acclimate_device import Device
from acclimate_device.errors import InputError
from acclimate_device.protocol import LIMITS, Event, Release, Report, Resources, Summary
from acclimate_device.telemetry import Recorder, Sketch, merge_reports, merge_summaries, quantile
from acclimate_device.telemetry.merge import mergeable
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle

RELEASE = Release("watch", 7, "ab" * 32)
UNDER = (RELEASE, 3, "a", Resources())


def report(**changes: object) -> Report:
    return Report("0" * 32, 0.0, 60.0, RELEASE, 3, "a", **changes)


def sketch(*values: float) -> Sketch:
    made = Sketch()
    for value in values:
        made.add(value)
    return made


def close(recorder: Recorder, at: float = 60.0) -> Report:
    return recorder.close("0" * 32, 1e9 + at, at, *UNDER)


def test_a_window_counts_what_was_called_and_the_next_begins_with_nothing() -> None:
    recorder = Recorder(0.0)
    assert recorder.empty()
    for number in range(600):  # beyond what is folded at once
        recorder.predicted(float(number))
        recorder.refused(InputError("x"))
    for number in range(8):
        recorder.labelled(0.25, adapted=True, mistaken=number < 3)
        recorder.labelled(4.0, adapted=False, mistaken=False)
    recorder.input_shift_is(0.0)  # as it was: no news
    for _ in range(9):
        for distance in (2.0, 2.0, 1.0):
            recorder.input_shift_is(distance)
    recorder.event(1e9, "drift", "adwin")
    recorder.drifts += 1
    assert not recorder.empty()
    made = close(recorder)
    assert (made.started_at, made.ended_at) == (1e9, 1e9 + 60.0)
    assert (made.predictions, made.refusals, made.mistakes) == (600, {"InputError": 600}, 3)
    assert (made.predict_us.count, made.predict_us.sum, made.predict_us.maximum) == (600, 179_700.0, 599.0)
    assert (made.adapted_loss.count, made.adapted_loss.sum, made.start_loss.sum) == (8, 2.0, 32.0)
    assert (made.input_shift.count, made.input_shift.sum) == (18, 27.0)
    assert made.events == (Event(1e9, "drift", "adwin"),)
    assert (made.drifts, made.events_dropped) == (1, 0)
    assert recorder.empty()
    later = close(recorder, 90.0)
    assert (later.started_at, later.ended_at) == (1e9 + 60.0, 1e9 + 90.0)
    zeros = [
        getattr(later, field.name) for field in fields(Report) if isinstance(getattr(later, field.name), int)
    ]
    assert zeros == [3, 1] + [0] * 12, "its counter and one window, nothing of the one before"
    recorder.input_shift_is(1.0)  # as it was before the window closed
    assert recorder.empty()


@pytest.mark.parametrize("what", ["predicted", "refused", "labelled", "event", "resets", "folded"])
def test_a_window_in_which_anything_happened_is_not_empty(what: str) -> None:
    recorder = Recorder(0.0)
    match what:
        case "predicted":
            recorder.predicted(1.0)
        case "refused":
            recorder.refused(InputError("x"))
        case "labelled":
            recorder.labelled(1.0, adapted=False, mistaken=False)
        case "event":
            recorder.event(1.0, "reset")
        case "resets":
            recorder.resets += 1
        case "folded":
            for _ in range(256):  # moved on from where calls leave them
                recorder.predicted(1.0)
    assert not recorder.empty()


def test_a_report_tells_sixteen_events_and_how_many_more_there_were() -> None:
    recorder = Recorder(0.0)
    for number in range(LIMITS.report_events + 5):
        recorder.event(float(number), "warning")
    made = close(recorder)
    assert [event.at for event in made.events] == [float(number) for number in range(LIMITS.report_events)]
    assert made.events_dropped == 5


def test_the_first_thirty_one_kinds_of_refusal_are_told_apart() -> None:
    recorder = Recorder(0.0)
    kinds = [type(f"Error{number:02d}", (Exception,), {}) for number in range(40)]
    for kind in (*kinds, kinds[0], kinds[39]):
        recorder.refused(kind())
    told = close(recorder).refusals
    assert told == {"Error00": 2} | {f"Error{number:02d}": 1 for number in range(1, 31)} | {"other": 10}


def test_counts_sums_and_moments_of_two_reports_add_up_and_the_newer_says_the_rest() -> None:
    counted = [
        field.name
        for field in fields(Report)
        if type(getattr(report(), field.name)) is int and field.name not in ("counter", "schema")
    ]
    few = {name: number + 1 for number, name in enumerate(counted)}
    one = report(**few, resources=Resources(1, 1.0, 1.0))
    two = Report(
        "1" * 32,
        -60.0,
        30.0,
        RELEASE,
        3,
        "a",
        **{name: 100 * count for name, count in few.items()},
        resources=Resources(2, 2.0, 2.0),
    )
    both = merge_reports(one, two, "f" * 32)
    assert {name: getattr(both, name) for name in few} == {name: 101 * few[name] for name in few}
    assert (both.id, both.started_at, both.ended_at) == ("f" * 32, -60.0, 60.0)
    assert both.resources == two.resources


def test_counts_stay_at_the_protocols_bound() -> None:
    most = report(predictions=LIMITS.count, windows=2**31 - 1, events_dropped=LIMITS.count)
    both = merge_reports(most, report(predictions=1), "f" * 32)
    assert (both.predictions, both.windows) == (LIMITS.count, 2**31 - 1)
    assert both.events_dropped == LIMITS.count
    near = merge_reports(report(predictions=LIMITS.count - 2), report(predictions=1), "f" * 32)
    assert near.predictions == LIMITS.count - 1


def test_the_oldest_events_are_kept_and_all_others_counted() -> None:
    few = tuple(Event(float(number), "drift") for number in range(LIMITS.report_events - 2))
    more = tuple(Event(100.0 + number, "reset") for number in range(5))
    both = merge_reports(
        report(events=few, events_dropped=1), report(events=more, events_dropped=2), "f" * 32
    )
    assert both.events == (*few, *more[:2])
    assert both.events_dropped == 1 + 2 + 3
    assert merge_reports(report(events=few), report(events=more[:2]), "f" * 32).events_dropped == 0


@pytest.mark.parametrize(
    "changes", [{"counter": 4}, {"slot": "b"}, {"release": Release("watch", 8, "ab" * 32)}]
)
def test_only_reports_of_one_version_slot_and_assignment_are_merged(changes: dict[str, object]) -> None:
    other = replace(report(), **changes)
    assert mergeable(report(), report(predictions=5))
    assert not mergeable(report(), other)


def test_the_commonest_refusals_keep_their_names_and_the_rarest_become_other() -> None:
    one = {f"Error{number:02d}": number + 1 for number in range(31)} | {"other": 1}
    two = {"Error30": 9, "Late": 50, "Rare": 1}
    told = merge_reports(report(refusals=one), report(refusals=two), "f" * 32).refusals
    named = {f"Error{number:02d}": number + 1 for number in range(2, 30)}
    assert told == named | {"Error30": 40, "Late": 50, "other": 1 + 1 + 2 + 1}
    fits = report(refusals={f"Error{number:02d}": 1 for number in range(32)})
    assert merge_reports(fits, fits, "f" * 32).refusals == dict.fromkeys(fits.refusals, 2)
    beyond = merge_reports(fits, report(refusals={"Error40": 1}), "f" * 32).refusals
    assert sorted(beyond) == [f"Error{number:02d}" for number in range(31)] + ["other"]  # the first by name
    assert beyond["other"] == 2


def test_a_summary_of_two_is_the_summary_of_all_numbers() -> None:
    few, many = (0.0, 1.0, 3.0), (2.0, 3.0, 1e-9, 40.0)
    assert merge_summaries(sketch(*few).summary(), sketch(*many).summary()) == sketch(*few, *many).summary()
    merged = sketch(*few)
    merged.merge(sketch(*many))
    assert merged.summary() == sketch(*few, *many).summary()
    merged.merge(Sketch())
    assert merged.summary() == sketch(*few, *many).summary()
    huge = sketch(LIMITS.number / 2, LIMITS.number / 2).summary()
    assert (huge.sum, huge.sum_of_squares) == (LIMITS.number, float(f"{LIMITS.number**2 / 2:.7g}"))
    full = Summary(LIMITS.count, LIMITS.number, LIMITS.number**2, 5.0, ((0, LIMITS.count),))
    assert merge_summaries(full, full) == full


def test_a_bucket_holds_what_lies_above_the_last_edge_and_up_to_its_own() -> None:
    base = 2**0.25
    for bucket in (-79, -4, 0, 1, 4, 119):
        edge = base**bucket
        assert sketch(edge * 0.999).summary().sketch == ((bucket, 1),)
        assert sketch(edge * 1.001).summary().sketch == ((bucket + 1, 1),)
    assert sketch(base**-80, 0.0).summary().sketch == ((-80, 2),)
    assert sketch(base**-80 * 1.001).summary().sketch == ((-79, 1),)
    assert sketch(base**130, 1e300, math.nan).summary().sketch == ((120, 3),)


def test_a_quantile_is_the_middle_of_the_bucket_in_which_its_rank_lies() -> None:
    made = sketch(1.0, 2.0, 2.0, 4.0).summary()
    middle = 2 / (2**0.25 + 1)
    found = [quantile(made, share) for share in (0.0, 0.25, 0.5, 0.67, 1.0)]
    assert found == pytest.approx([middle, middle, 2 * middle, 2 * middle, 4 * middle])
    assert quantile(sketch(0.0, 3.0).summary(), 0.0) == 0.0
    assert math.isnan(quantile(Summary(), 0.5))
    assert quantile(Summary(1, 3.0, 9.0, 2.9, ((7, 1),)), 1.0) == 2.9  # never above the maximum


def test_what_is_told_of_eight_losses_is_two_digits_and_the_edge_of_a_bucket() -> None:
    told = sketch(*[0.123456] * 7, 1.1).veiled_summary()
    assert (told.count, told.sum, told.sum_of_squares) == (8, 2.0, 1.3)
    assert told.maximum == pytest.approx(2**0.25, rel=1e-6)
    assert sketch(*[0.0] * 8).veiled_summary() == Summary(8, 0.0, 0.0, 0.0, ((-80, 8),))
    assert sketch(*[0.5] * 7).veiled_summary() == Summary()
    assert sketch(*[math.inf] * 8).veiled_summary().sum == LIMITS.number


@pytest.mark.parametrize("kind", ["gradient", "closed-form"])
def test_times_are_microseconds(kind: str) -> None:
    under_test = Device(tiny_bundle(kind).get, SimulatedFlash(), clock=lambda: 0.0)
    for x, y in GestureDevice(1).examples(40):
        under_test.predict_one(x)
        under_test.learn_one(x, y)
    under_test.close()
    told = under_test._life.keeping._queue.reports()[-1]
    assert all(1.0 < each.sum / each.count < 1e5 for each in (told.predict_us, told.adapt_us))
