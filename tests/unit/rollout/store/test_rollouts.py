"""What every store keeps of rollouts and reports, whatever its database."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.retraining import Drifted
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.store import (
    ConflictError,
    Store,
    Taken,
)
from acclimate.rollout.store.reports import ORDER_LOCK, REPORTS, STORED
from acclimate_device.protocol import Release
from tests.support.rollout_samples import (
    EVIDENCE,
    NEW,
    NOW,
    OLD,
    a_decision,
    a_fleet,
    a_fleet_with,
    a_report,
    a_rollout,
    a_running,
    lead,
)
from tests.support.together import at_once


class TestRollouts:
    def test_a_rollout_comes_back_as_it_was_made(self, store: Store):
        a_fleet_with(store)
        made = store.add_rollout(a_rollout(), "ada")
        assert store.rollout("rollout-1") == made
        assert store.rollouts("home") == [made]
        assert store.rollouts("home", [State.DONE]) == []

    def test_a_step_stores_state_revision_decision_and_audit_together(self, store: Store):
        a_fleet_with(store)
        before = store.fleet("home").revision
        running = a_running(store)
        assert store.rollout("rollout-1") == running
        assert store.fleet("home").revision == running.opened[0].revision > before
        assert [one.action for one in store.decisions("rollout-1")] == ["open", "start"]
        assert store.audit()[0].action == "rollout.open"

    def test_evidence_comes_back_whole(self, store: Store):
        a_fleet_with(store)
        token = lead(store)
        store.add_rollout(a_rollout(), "ada")
        decision = a_decision("wait", evidence=(EVIDENCE,), facts={"settled": 3})
        store.record_decision(decision, token)
        assert store.decisions("rollout-1") == [decision]

    def test_a_refused_step_leaves_no_trace(self, store: Store):
        a_fleet_with(store)
        store.add_rollout(a_rollout(), "ada")
        before = store.fleet("home"), store.rollout("rollout-1"), store.audit()
        with pytest.raises(RolloutError, match="draft"):
            store.step_rollout("rollout-1", lambda one, r: life.pause(one, NOW, r), a_decision("pause"))
        assert (store.fleet("home"), store.rollout("rollout-1"), store.audit()) == before

    def test_a_step_from_a_stale_read_is_refused(self, store: Store):
        a_fleet_with(store)
        running = a_running(store)
        store.step_rollout("rollout-1", lambda one, r: life.pause(one, NOW, r), a_decision("pause"))
        with pytest.raises(ConflictError, match="changed"):
            store.step_rollout(
                "rollout-1",
                lambda one, _: life.promote(one, NOW, approved=False),
                a_decision("promote"),
                generation=running.generation,
            )
        assert store.rollout("rollout-1").state is State.PAUSED

    def test_one_rollout_at_a_time_is_live_in_a_fleet(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        store.add_rollout(a_rollout("rollout-2"), "ada")
        with pytest.raises(ConflictError, match="live rollout"):
            store.step_rollout(
                "rollout-2", lambda one, _: life.start(one, NOW), a_decision("start", rollout="rollout-2")
            )

    def test_a_finished_rollout_moves_the_baseline_and_waits_to_be_published(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        token = lead(store)
        for step in (
            lambda one, _: life.promote(one, NOW, approved=True),
            lambda one, revision: life.open_wave(one, NOW, revision, 0.8, 0.2),
            lambda one, _: life.promote(one, NOW, approved=True),
            lambda one, _: life.finish(one, NOW),
        ):
            done = store.step_rollout("rollout-1", step, a_decision("step"), token=token)
        fleet = store.fleet("home")
        assert done.state is State.DONE
        assert [one.release for one in fleet.baselines] == [NEW]
        assert fleet.floor == fleet.revision > done.opened[-1].revision
        assert store.unpublished() == [done]
        store.mark_published("rollout-1", "champion moved", NOW, token)
        assert store.unpublished() == []

    def test_a_rolled_back_rollout_leaves_the_baseline_and_raises_the_floor(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        store.step_rollout("rollout-1", lambda one, r: life.roll_back(one, NOW, r), a_decision("roll_back"))
        store.step_rollout("rollout-1", lambda one, _: life.rolled_back(one, NOW), a_decision("rolled_back"))
        fleet = store.fleet("home")
        assert fleet.baselines == ()
        assert fleet.floor == fleet.revision


class TestObservations:
    TAKEN = Taken("rollout-1", "device-00001", "canary", 1, 100, "b" * 64, NOW)

    def test_a_device_is_known_from_the_first_time_it_was_told(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        store.record_taken([self.TAKEN])
        store.record_taken([replace(self.TAKEN, at=NOW + 50)])
        [seen] = store.observations("rollout-1")
        assert (seen.device, seen.arm, seen.wave, seen.taken_at, seen.order) == (
            "device-00001",
            "canary",
            1,
            NOW,
            None,
        )

    def test_a_new_telling_starts_a_watched_device_anew_but_not_a_settled_one(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        token = lead(store)
        other = replace(self.TAKEN, device="device-00002")
        store.record_taken([self.TAKEN, other])
        first, second = store.observations("rollout-1")
        store.save_observations(
            "rollout-1",
            [replace(first, examples=5, loss_sum=1.0), replace(second, examples=5, order=1)],
            7,
            token,
        )
        store.record_taken([replace(one, counter=200, at=NOW + 9) for one in (self.TAKEN, other)])
        settled, watched = store.observations("rollout-1")
        assert (settled.device, settled.order, settled.examples) == ("device-00002", 1, 5)
        assert (watched.device, watched.examples, watched.taken_at, watched.counter) == (
            "device-00001",
            0,
            NOW + 9,
            200,
        )
        assert store.progress("rollout-1") == 7
        assert store.observations("rollout-1", watched_since=NOW + 9) == [watched]
        assert store.observations("rollout-1", watched_since=NOW + 10) == []


class TestReports:
    def test_drift_is_counted_by_device_release_and_time(self, store: Store):
        a_fleet_with(store, 3)
        reports = [
            a_report("device-00000", 1, drifts=2),
            a_report("device-00000", 2, drifts=1),
            a_report("device-00001", 3),
            a_report("device-00001", 4, release=NEW, drifts=1),
            a_report("device-00002", 5),
        ]
        store.add_reports(reports)
        assert store.drifted("home", [OLD.content_hash], NOW) == Drifted(3, 1, NOW)
        assert store.drifted("home", [OLD.content_hash, NEW.content_hash], NOW) == Drifted(3, 2, NOW)
        assert store.drifted("home", [OLD.content_hash], NOW + 3) == Drifted(2, 0, NOW + 3)
        assert store.drifted("home", [], NOW) == Drifted(0, 0, NOW)
        assert store.drifted("home", None, NOW) == store.drifted(
            "home", [OLD.content_hash, NEW.content_hash], NOW
        )

    def test_the_text_of_a_report_comes_back_to_the_character(self, store: Store):
        a_fleet_with(store, devices=1)
        text = '{"a":["\\"NULL\\" {,} \\\\ %s %(b)s ü\u2028", null]}'
        sent = [replace(a_report("device-00000", n), payload=text, latency_ms=None) for n in (1, 2)]
        assert store.add_reports(sent) == 2
        found = store.device_reports("home", "device-00000")
        assert [(one.payload, one.latency_ms) for one in found] == [(text, None)] * 2

    def test_a_report_counts_once_however_often_it_comes(self, store: Store):
        a_fleet_with(store)
        report = a_report("device-00001", 1)
        assert store.add_reports([report, report]) == 1
        assert store.add_reports([report, a_report("device-00001", 2)]) == 1
        assert sum(one.reports for one in store.counts("home")) == 2

    def test_reports_come_in_order_and_by_fleet(self, store: Store):
        a_fleet_with(store)
        store.add_fleet(a_fleet("works"), "ada")
        store.add_reports([a_report(f"device-{number % 3}", number) for number in range(6)])
        store.add_reports([a_report("device-1", 9, fleet="works")])
        found = store.reports_after("home", 0)
        assert [one.id for one in found] == [f"{number:032x}" for number in range(6)]
        assert store.reports_after("home", found[3].sequence) == found[4:]
        assert store.last_sequence("home") == found[-1].sequence
        assert [one.payload for one in found] == [""] * 6

    def test_reports_take_their_numbers_in_the_order_of_their_commits(self, store: Store, twin: Store):
        a_fleet_with(store)
        other = threading.Thread(target=twin.add_reports, args=([a_report("device-1", 2)],))
        with store._database.write() as connection:
            store._database.one_after_another(connection, ORDER_LOCK)
            other.start()
            other.join(0.3)
            values = [[getattr(a_report("device-1", 1), name) for name in STORED]]
            store._database.insert_new(connection, REPORTS, STORED, values)
        other.join()
        assert [int(one.id, 16) for one in store.reports_after("home", 0)] == [1, 2]

    def test_the_latest_report_of_each_device(self, store: Store):
        a_fleet_with(store)
        store.add_reports([a_report(f"device-{number % 3}", number) for number in range(6)])
        found = store.last_reports("home", ["device-0", "device-2", "silent"])
        assert {device: one.id for device, one in found.items()} == {
            "device-0": f"{3:032x}",
            "device-2": f"{5:032x}",
        }
        assert [one.payload for one in store.device_reports("home", "device-1")] == ["{}", "{}"]

    def test_counts_are_sums_by_release_and_hour(self, store: Store):
        a_fleet_with(store)
        for release in (OLD, NEW):  # replaced as the baseline, never forgotten
            store.set_baseline("home", "", release, NOW, "ada")
        assert store.given_releases("home") == [OLD, NEW]
        hour = NOW // 3600 * 3600
        times = [hour + 1, hour + 2, hour + 3601]
        store.add_reports(
            [
                a_report("device-1", number, received_at=at, drifts=number, refused=number == 2)
                for number, at in enumerate(times)
            ]
        )
        store.add_reports([a_report("device-2", 9, release=NEW, received_at=hour + 5)])
        found = {(one.release.version, one.hour): one for one in store.counts("home")}
        assert {key: one.reports for key, one in found.items()} == {
            (1, hour): 2,
            (2, hour): 1,
            (1, hour + 3600): 1,
        }
        assert found[1, hour].loss_sum == 10.0
        assert found[1, hour].drifts == 1
        assert found[1, hour + 3600].refusals == 1

    def test_releases_that_a_fleet_was_never_given_share_one_row_for_ever(self, store: Store):
        a_fleet_with(store)
        store.set_baseline("home", "", OLD, NOW, "ada")
        invented = [Release(f"invented-{number}", 1, "c" * 64) for number in range(20)]
        store.add_reports([a_report("device-1", 0)])
        store.add_reports(
            [a_report("device-1", number, release=one) for number, one in enumerate(invented, start=1)]
        )
        names = {one.release.name: one.reports for one in store.counts("home")}
        assert names == {OLD.name: 1, "other": 20}
        store.prune(NOW + 1_000, lead(store))
        assert {one.release.name: one.reports for one in store.counts("home")} == names

    def test_sums_stay_within_every_readers_integers(self, store: Store):
        a_fleet_with(store)
        token, most = lead(store), 2**53 - 1
        for batch in range(3):  # 3 x 1,100 x 2^53 overflows 63 bits, in one query and in what is kept
            store.add_reports(
                [
                    a_report("device-1", batch * 1_100 + number, received_at=NOW, predictions=most)
                    for number in range(1_100)
                ]
            )
            assert [one.predictions for one in store.counts("home")] == [most]
            store.prune(NOW + 10_000, token)
        assert sum(one.reports for one in store.counts("home")) == 3_300
        assert {one.predictions for one in store.counts("home")} == {most}

    def test_pruning_keeps_counts_and_each_devices_latest_report(self, store: Store):
        a_fleet_with(store)
        token = lead(store)
        store.add_reports([a_report(f"device-{number % 3}", number) for number in range(30)])
        before = store.counts("home")
        assert store.prune(NOW + 15, token, limit=5) == 5
        assert store.prune(NOW + 15, token) == 10
        assert store.prune(NOW + 1_000, token) == 12
        assert store.counts("home") == before
        assert len(store.reports_after("home", 0)) == 3

    def test_pruning_never_takes_what_a_live_rollout_has_not_read(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        token = lead(store)
        store.add_reports([a_report("device-1", number) for number in range(10)])
        assert store.prune(NOW + 1_000, token) == 0
        store.save_observations("rollout-1", [], store.reports_after("home", 0)[4].sequence, token)
        assert store.prune(NOW + 1_000, token) == 5

    def test_pruning_takes_the_devices_of_ended_rollouts_and_keeps_their_decisions(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        token = lead(store)
        store.record_taken([TestObservations.TAKEN])
        store.prune(NOW + 1_000, token)
        assert len(store.observations("rollout-1")) == 1
        store.step_rollout("rollout-1", lambda one, r: life.roll_back(one, NOW, r), a_decision("roll_back"))
        store.step_rollout("rollout-1", lambda one, _: life.rolled_back(one, NOW), a_decision("rolled_back"))
        store.prune(NOW - 1, token)
        assert len(store.observations("rollout-1")) == 1
        store.prune(NOW + 1_000, token)
        assert store.observations("rollout-1") == []
        assert len(store.decisions("rollout-1")) == 4

    def test_nothing_is_lost_or_doubled_under_concurrent_writers(self, store: Store):
        a_fleet_with(store)
        fresh: list[int] = []

        def send(writer: int) -> None:
            for batch in range(5):
                numbers = [(writer % 2) * 1000 + batch * 10 + number for number in range(10)]
                fresh.append(store.add_reports([a_report("device-1", number) for number in numbers]))

        assert at_once(send, range(4)) == [None] * 4
        assert sum(fresh) == 100 == sum(one.reports for one in store.counts("home"))
