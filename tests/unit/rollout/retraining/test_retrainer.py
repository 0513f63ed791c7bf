"""Leases, cooldown and audit over a real store; the launcher is a list of what was asked of it."""

import shutil
from dataclasses import replace

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.evidence import Decision
from acclimate.rollout.domain.retraining import RetrainingRule
from acclimate.rollout.retraining import Finished, Retrainer
from acclimate.rollout.store import NotFoundError, open_store
from tests.support.rollout_samples import NOW, OLD, a_device, a_fleet, a_report, a_rollout


class Trainings:
    """A launcher whose trainings end when a test says so."""

    def __init__(self):
        self.triggers, self.outcome, self.stopped, self.fails = [], None, 0, ""

    def launch(self, trigger):
        if self.fails:
            raise RolloutError(self.fails)
        self.triggers.append(trigger)
        return self

    def finished(self):
        return self.outcome

    def stop(self):
        self.stopped += 1


class Fleet:
    """A store with one fleet of 30 devices, and any number of replicas' retrainers on one clock."""

    def __init__(self, store):
        self.store, self.now = store, NOW + 100.0
        self.trainings = Trainings()
        self.rule = RetrainingRule(drift_share=0.3, min_devices=20, window_s=1000, cooldown_s=1000)
        store.add_fleet(a_fleet(), "ada")
        store.add_devices([a_device(number) for number in range(30)], NOW, "ada")
        store.set_baseline("home", "", OLD, NOW, "ada")

    def retrainer(self):
        return Retrainer(self.store, self.trainings, self.rule, lambda: self.now)

    def report(self, drifting):
        reports = [
            a_report(f"device-{number:05d}", number + 1, drifts=int(number < drifting))
            for number in range(30)
        ]
        self.store.add_reports([replace(report, received_at=self.now) for report in reports])

    @property
    def audit(self):
        entries = self.store.audit(fleet="home")
        return [(entry.action, entry.actor) for entry in reversed(entries) if "retraining" in entry.action]


@pytest.fixture
def fleet(tmp_path, migrated):
    shutil.copy(migrated, tmp_path / "rollout.db")
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    yield Fleet(store)
    store.close()


def test_drift_in_enough_devices_starts_one_training_with_its_lineage(fleet):
    retrainer = fleet.retrainer()
    fleet.report(drifting=8)
    retrainer.tick()
    assert fleet.trainings.triggers == []
    fleet.now += 1
    fleet.store.add_reports([replace(a_report("device-00020", 99, drifts=1), received_at=fleet.now)])
    retrainer.tick()
    [trigger] = fleet.trainings.triggers
    assert (trigger.cause, trigger.fleet, trigger.parent) == ("drift", "home", OLD)
    assert (trigger.drifted.drifted, trigger.drifted.devices) == (9, 30)
    assert fleet.audit == [("retraining.start", "retraining")]


def test_two_replicas_never_train_at_once(fleet):
    first, second = fleet.retrainer(), fleet.retrainer()
    assert first.request("home", "operator", "now", "ada").started
    fleet.now += fleet.rule.cooldown_s + 1
    first.tick()  # renews its lease
    answer = second.request("home", "operator", "now", "ben")
    assert (answer.started, answer.detail) == (False, "another training is running")
    assert len(fleet.trainings.triggers) == 1


def test_the_cooldown_holds_for_everybody_and_survives_a_restart(fleet):
    first = fleet.retrainer()
    first.request("home", "alertmanager", "AcclimateFleetDrifts", "alerts")
    fleet.trainings.outcome = Finished(True, "gait version 2 is registered")
    first.tick()
    assert "less than 1000 s ago" in fleet.retrainer().request("home", "operator", "", "ada").detail
    fleet.now += fleet.rule.cooldown_s + 1
    assert fleet.retrainer().request("home", "operator", "", "ada").started
    assert fleet.audit[:2] == [("retraining.start", "alerts"), ("retraining.done", "retraining")]


def test_a_release_under_trial_is_not_taken_for_drift(fleet):
    fleet.report(drifting=30)
    fleet.store.add_rollout(a_rollout(), "ada")
    start = Decision("rollout-1", fleet.now, "start", "asked", "ada", 0)
    fleet.store.step_rollout("rollout-1", lambda one, _: life.start(one, fleet.now), start)
    fleet.retrainer().tick()
    assert fleet.trainings.triggers == []


def test_a_replica_that_was_away_stops_its_training(fleet):
    away, other = fleet.retrainer(), fleet.retrainer()
    away.request("home", "operator", "", "ada")
    fleet.now += 5000
    assert other.request("home", "operator", "", "ben").started
    away.tick()
    assert fleet.trainings.stopped == 1
    assert ("retraining.fail", "retraining") in fleet.audit


def test_a_launcher_that_fails_blocks_nobody(fleet):
    fleet.trainings.fails = "no such program"
    with pytest.raises(RolloutError, match="no such program"):
        fleet.retrainer().request("home", "operator", "", "ada")
    assert fleet.audit == [("retraining.fail", "ada")]
    fleet.trainings.fails = ""
    assert fleet.retrainer().request("home", "operator", "", "ada").started


def test_closing_ends_the_training(fleet):
    retrainer = fleet.retrainer()
    retrainer.request("home", "operator", "", "ada")
    retrainer.close()
    assert fleet.trainings.stopped == 1
    assert fleet.audit[-1] == ("retraining.fail", "retraining")


def test_a_fleet_without_a_release_or_none_at_all_is_named(fleet):
    fleet.store.add_fleet(a_fleet("new"), "ada")
    with pytest.raises(RolloutError, match="'new' runs no release yet"):
        fleet.retrainer().request("new", "operator", "", "ada")
    with pytest.raises(NotFoundError, match="nowhere"):
        fleet.retrainer().request("nowhere", "operator", "", "ada")
