"""Settling: what reports add up to, and the moment an outcome is fixed."""

from dataclasses import replace

import pytest

from acclimate.rollout.domain.evidence import Observation
from acclimate.rollout.domain.plan import Gate
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.domain.settle import hear, heard_return, is_settled, settle
from tests.support.rollout_samples import NEW, NOW, OLD, a_plan, a_report, a_rollout

WATCHED = Observation("d", "canary", 1, NOW, 5, NEW.content_hash)
PLAN = a_plan(soak_s=100.0, silence_s=1000.0, min_examples=20)


def report(number: int = 1, **fields: object) -> ReportRecord:
    return a_report("d", number, release=NEW, **{"counter": 5} | fields)


def test_losses_count_from_the_first_adaptation_on():
    before = report(adaptations=0, examples=7, loss_sum=70.0, adapted_examples=0, adapted_loss_sum=0.0)
    during = report(2, examples=10, loss_sum=50.0, adapted_examples=4, adapted_loss_sum=2.0)
    after = report(3, adaptations=0, examples=6, loss_sum=3.0, adapted_examples=5, adapted_loss_sum=2.5)
    one = hear(hear(hear(WATCHED, before), during), after)
    assert (one.examples, one.loss_sum) == (10, 5.0)
    assert one.loss == 0.5


def test_a_device_whose_adaptation_did_not_pay_counts_with_the_start_it_uses():
    kept = report(adaptations=0, kept_starts=1, adapted_examples=0, adapted_loss_sum=0.0)
    later = report(2, adaptations=0, adapted_examples=0, adapted_loss_sum=0.0)
    one = hear(hear(WATCHED, kept), later)
    assert one.fallback
    assert one.loss == 0.5
    assert not hear(one, report(3)).fallback
    both = hear(WATCHED, report(adaptations=1, kept_starts=1))
    assert both.adapted
    assert not both.fallback


def test_predictions_add_up_and_their_latency_is_the_mean_of_all():
    one = hear(
        hear(WATCHED, report(predictions=100, latency_ms=0.5)), report(2, predictions=300, latency_ms=0.9)
    )
    assert one.predictions == 400
    assert one.latency_ms == pytest.approx(0.8)
    assert hear(one, report(3, predictions=0, latency_ms=None)).latency_ms == one.latency_ms


@pytest.mark.parametrize("fields", [{"fallbacks": 1}, {"refused": True}, {"content_hash": OLD.content_hash}])
def test_what_makes_a_failure(fields: dict[str, object]):
    failed = hear(WATCHED, replace(report(), **fields))
    assert failed.failure
    assert is_settled(failed, PLAN, NOW)


def test_reports_from_before_the_assignment_say_only_whether_it_was_refused():
    assert hear(WATCHED, report(counter=4, drifts=3)) == WATCHED
    assert not hear(WATCHED, report(counter=4, refused=True, ended_at=NOW - 1)).failure
    assert hear(WATCHED, report(counter=4, refused=True, ended_at=NOW + 1)).failure


def test_an_outcome_waits_for_soak_and_labels():
    heard = hear(hear(WATCHED, report(1)), report(2))
    assert heard.examples == 20
    assert not is_settled(heard, PLAN, NOW + 99)
    assert is_settled(heard, PLAN, NOW + 100)
    few = hear(WATCHED, report(1))
    assert not is_settled(few, PLAN, NOW + 500)
    assert is_settled(few, replace(PLAN, gates=(Gate("failure"),)), NOW + 500)


def test_silence_is_counted_from_the_last_word():
    assert not is_settled(WATCHED, PLAN, NOW + 999)
    assert settle(WATCHED, PLAN, NOW + 1000, 1).silence
    heard = hear(WATCHED, report(500))
    assert not is_settled(heard, PLAN, NOW + 1499)
    assert settle(heard, PLAN, NOW + 1500, 1).silence


def test_a_settled_outcome_never_moves():
    fixed = settle(hear(WATCHED, report()), PLAN, NOW + 200, 3)
    assert (fixed.order, fixed.silence) == (3, False)
    assert hear(fixed, report(2, drifts=1, fallbacks=1)) == fixed


def test_latency_is_the_mean_over_all_predictions():
    one = hear(hear(WATCHED, report(1, latency_ms=1.0)), report(2, latency_ms=4.0, predictions=300))
    assert one.latency_ms == pytest.approx(3.25)
    assert hear(one, report(3, latency_ms=None, predictions=0)).latency_ms == one.latency_ms


def test_a_canary_is_back_when_it_runs_another_release_under_the_new_counter():
    rolling = replace(a_rollout(), state=State.ROLLING_BACK, touched=9)
    assert not heard_return(WATCHED, report(counter=8, content_hash=OLD.content_hash), rolling).returned
    assert not heard_return(WATCHED, report(counter=9), rolling).returned
    assert heard_return(WATCHED, report(counter=9, content_hash=OLD.content_hash), rolling).returned
    running = replace(rolling, state=State.RUNNING)
    assert not heard_return(WATCHED, report(counter=9, content_hash=OLD.content_hash), running).returned
