"""What rollouts take of a device's report, and what a record says where nothing was told."""

from acclimate.rollout.domain.access import ApiToken, AuditEntry, EnrolmentToken
from acclimate.rollout.domain.fleet import Device, Fleet, Member, next_revision
from acclimate.rollout.domain.report import ReportRecord, record
from acclimate_device.protocol import LIMITS, Event, Report, Summary
from tests.support.rollout_samples import NEW, NOW


def told(**fields: object) -> Report:
    return Report("0" * 32, NOW, NOW + 60, NEW, 5, "a", **fields)


def test_losses_of_both_parameters_add_up_and_the_adapted_stay_apart():
    report = told(start_loss=Summary(8, 16.0, 40.0, 1.0, 3.0), adapted_loss=Summary(10, 5.0, 3.0, 0.1, 1.0))
    flat = record("home", "one", NOW, report, "{}")
    assert (flat.examples, flat.loss_sum) == (18, 21.0)
    assert (flat.adapted_examples, flat.adapted_loss_sum) == (10, 5.0)
    assert (flat.fleet, flat.device, flat.id, flat.received_at, flat.payload) == (
        "home",
        "one",
        "0" * 32,
        NOW,
        "{}",
    )
    assert (flat.name, flat.version, flat.content_hash, flat.counter) == ("gait", 2, NEW.content_hash, 5)


def test_counts_are_taken_over_one_by_one():
    flat = record("f", "d", NOW, told(predictions=7, adaptations=1, kept_starts=2, drifts=3, fallbacks=4))
    assert (flat.predictions, flat.adaptations, flat.kept_starts, flat.drifts, flat.fallbacks) == (
        7,
        1,
        2,
        3,
        4,
    )


def test_latency_is_milliseconds_a_prediction():
    assert record("f", "d", NOW, told(predict_us=Summary(3, 6000.0, 2e7, 1e3, 3e3))).latency_ms == 2.0
    assert record("f", "d", NOW, told()).latency_ms is None


def test_a_refusal_is_an_event_of_that_kind():
    assert record("f", "d", NOW, told(events=(Event(NOW, "refused", "", ""),))).refused
    assert not record("f", "d", NOW, told(events=(Event(NOW, "installed", "", ""),))).refused


def test_times_are_the_service_s_and_stay_within_the_calendar():
    flat = record("f", "d", NOW, told(clock_offset_s=-30.0))
    assert (flat.started_at, flat.ended_at) == (NOW - 30.0, NOW + 30.0)
    earliest, latest = LIMITS.time_s
    assert record("f", "d", NOW, told(clock_offset_s=-1e12)).started_at == earliest
    assert record("f", "d", NOW, told(clock_offset_s=1e12)).ended_at == latest


def test_what_was_not_told_counts_for_nothing():
    bare = ReportRecord("f", "d", "0" * 32, NOW, NOW, NOW, 1, "gait", 2, NEW.content_hash)
    counts = (bare.examples, bare.loss_sum, bare.adapted_examples, bare.adapted_loss_sum, bare.predictions)
    assert counts == (0, 0.0, 0, 0.0, 0)
    assert (bare.adaptations, bare.kept_starts, bare.drifts, bare.fallbacks, bare.sequence) == (0, 0, 0, 0, 0)
    assert not bare.refused
    assert bare.latency_ms is None


def test_new_records_begin_where_nothing_has_happened():
    fleet, device = Fleet("home", NOW), Device("home", "one", "0" * 64, NOW)
    assert (fleet.revision, fleet.floor, fleet.poll_interval_s, fleet.device_quota) == (
        1,
        1,
        300.0,
        1_000_000,
    )
    assert (device.revision, device.epoch, device.retired_at) == (1, 1, None)
    assert not Member("one", b"", {}, 1, 1).retired
    token = EnrolmentToken("t", "home", "0" * 64, NOW, "ada")
    assert (token.quota, token.used, token.expires_at, token.revoked_at) == (1, 0, None, None)
    everywhere = ApiToken("t", "n", "admin", "0" * 64, NOW, "ada")
    assert (everywhere.fleet, everywhere.expires_at, everywhere.revoked_at) == (None, None, None)
    assert AuditEntry(NOW, "ada", "did", "it").sequence == 0


def test_revisions_rise_and_pass_whatever_a_restored_backup_gave():
    assert next_revision(7, 0.001) == 8
    assert next_revision(7, 2.5) == 2500
    assert next_revision(2500, 2.5) == 2501
