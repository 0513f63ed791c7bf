import sys
import time

import pytest

from acclimate.rollout.api.operator.context import Desk
from acclimate.rollout.domain.retraining import RetrainingRule
from acclimate.rollout.retraining import CommandLauncher, Retrainer
from acclimate_device.protocol import Release

pytestmark = pytest.mark.anyio
RELEASE = Release("press", 1, "a" * 64)


@pytest.fixture
async def training(world, tmp_path, monkeypatch):
    """The world with a fleet and a service that trains by running a small program."""
    launcher = CommandLauncher(f"{sys.executable} -c pass", tmp_path / "retraining")
    retrainer = Retrainer(world.service.store, launcher, RetrainingRule(), time.time)
    desk = world.service.desk
    monkeypatch.setattr(world.service, "desk", Desk(desk.store, desk.releases, desk.settings, retrainer))
    # the application keeps the desk it was made with; routes read it from there
    object.__setattr__(desk, "retrainer", retrainer)
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    world.service.store.set_baseline("plant", "", RELEASE, time.time(), "ada")
    yield world
    retrainer.close()


def notification(*alerts, version="4"):
    return {
        "version": version,
        "groupKey": "{}:{alertname='AcclimateFleetDrifts'}",
        "receiver": "acclimate",
        "status": "firing",
        "alerts": [{"annotations": {}, "startsAt": "2026-11-23T00:00:00Z", **alert} for alert in alerts],
    }


def alert(status="firing", **labels):
    return {"status": status, "labels": {"alertname": "AcclimateFleetDrifts", **labels}}


async def test_a_firing_alert_trains_its_fleet_once(training):
    both = notification(alert(fleet="plant", version="1"), alert(fleet="plant", version="2"))
    [first] = await training.call("POST", "/alertmanager", both)
    assert (first["fleet"], first["started"]) == ("plant", True)
    [again] = await training.call("POST", "/alertmanager", both)
    assert again["started"] is False
    assert "running" in again["detail"] or "ago" in again["detail"]


async def test_resolved_and_foreign_alerts_train_nobody(training):
    body = notification(alert("resolved", fleet="plant"), alert(), alert(fleet="nowhere"))
    [answer] = await training.call("POST", "/alertmanager", body)
    assert (answer["fleet"], answer["started"]) == ("nowhere", False)
    assert "no fleet 'nowhere'" in answer["detail"]


async def test_an_odd_alert_loses_none_of_those_beside_it(training):
    odd = [alert(fleet="p" * 5000), alert(fleet={"a": ["\x00"]}), alert(pod="x" * 5000, note=None)]
    odd[2]["labels"] |= {f"label{number}": "" for number in range(200)}
    answers = await training.call("POST", "/alertmanager", notification(*odd, alert(fleet="plant")))
    assert [one["started"] for one in answers] == [False, False, True]
    assert all("no fleet" in one["detail"] and len(one["detail"]) < 300 for one in answers[:2])
    counted = training.service.metrics.registry.get_sample_value
    assert counted("acclimate_alerts_total", {"outcome": "refused"}) == 2
    assert counted("acclimate_alerts_total", {"outcome": "started"}) == 1


async def test_a_token_for_another_fleet_learns_and_starts_nothing(training):
    await training.call("POST", "/fleets", {"name": "other"}, 201)
    theirs = await training.operator("operator", "other")
    answer = await training.http.post(
        "/api/v1/alertmanager", json=notification(alert(fleet="plant")), headers=theirs
    )
    assert answer.json() == [{"fleet": "plant", "started": False, "detail": "no fleet 'plant'", "id": ""}]
    answer = await training.http.post("/api/v1/fleets/plant/retrainings", json={}, headers=theirs)
    assert answer.status_code == 404


async def test_a_person_may_ask_and_is_told_why_not(training):
    started = await training.call("POST", "/fleets/plant/retrainings", {"reason": "new season"}, 202)
    assert started["started"]
    refused = await training.call("POST", "/fleets/plant/retrainings", {}, 409)
    assert refused["type"] == "urn:acclimate:problem:retraining-refused"
    entries = await training.call("GET", "/audit")
    assert any(entry["detail"] == "operator: new season" for entry in entries)


@pytest.mark.parametrize("body", [{}, {"version": "3", "alerts": []}, {"version": "4", "alerts": [{}]}])
async def test_what_is_no_notification_is_refused(training, body):
    await training.call("POST", "/alertmanager", body, 422)


async def test_a_service_without_a_command_says_what_to_set(world):
    await world.call("POST", "/fleets", {"name": "plant"}, 201)
    problem = await world.call("POST", "/fleets/plant/retrainings", {}, 409)
    assert "ACCLIMATE_RETRAIN_COMMAND" in problem["detail"]
