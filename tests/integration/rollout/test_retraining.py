"""A real service, Alertmanager's webhook body, a real training in a process of its own, a real registry."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from acclimate.registry import Registry
from acclimate.rollout.store import open_store
from acclimate_device.protocol import Release
from tests.support.rollout_samples import NOW, a_fleet
from tests.support.serving import Served

pytestmark = pytest.mark.slow

RECIPE = {
    "name": "waves",
    "data": {"source": "sinusoid", "options": {"tasks": 60}, "test": 5},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "training": {"steps": 2, "meta_batch": 4, "shard": 4, "workers": 0},
    "baseline": {"joint": False},
    "evaluation": {"shots": [5], "steps": [0, 1], "rates": [0.01], "long_steps": 2, "draws": 1},
}
# As Alertmanager sends it (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config).
NOTIFICATION = {
    "version": "4",
    "groupKey": '{}:{alertname="AcclimateFleetDrifts"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "acclimate",
    "groupLabels": {"alertname": "AcclimateFleetDrifts"},
    "commonLabels": {"severity": "warning"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "AcclimateFleetDrifts",
                "fleet": "home",
                "model": "waves",
                "version": "1",
            },
            "annotations": {"summary": "Devices of fleet home drift"},
            "startsAt": "2026-11-23T01:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090",
            "fingerprint": "1",
        }
    ],
}


def test_an_alert_makes_a_candidate_with_its_lineage(tmp_path: Path):
    recipe = tmp_path / "waves.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    store.add_fleet(a_fleet(), "ada")
    store.set_baseline("home", "", Release("waves", 1, "a" * 64), NOW, "ada")
    train = shlex.join([sys.executable, "-m", "acclimate", "train", str(recipe), "--json"])
    service = Served(tmp_path)
    service.start(ACCLIMATE_RETRAIN_COMMAND=f"{train} {{lineage}}")
    try:
        url = f"{service.url}/api/v1/alertmanager"
        assert httpx.post(url, json=NOTIFICATION).status_code == 401
        [answer] = httpx.post(url, json=NOTIFICATION, headers=service.admin).json()
        assert answer["started"], answer
        [again] = httpx.post(url, json=NOTIFICATION, headers=service.admin).json()
        assert (again["started"], again["detail"]) == (False, "another training is running")
        done = ended(store, tmp_path)
        assert (done.action, done.detail) == ("retraining.done", "waves version 1 is registered"), service.log
        [late] = httpx.post(url, json=NOTIFICATION, headers=service.admin).json()
        assert "less than 86400 s ago" in late["detail"]
    finally:
        service.stop()
        store.close()
    made = Registry.open(f"sqlite:///{tmp_path / 'mlflow.db'}").version("waves", "candidate")
    lineage = {
        key: made.tags[key] for key in ("parent_version", "trigger", "trigger_detail", "fleet", "retraining")
    }
    assert lineage == {
        "parent_version": "1",
        "trigger": "alertmanager",
        "trigger_detail": "AcclimateFleetDrifts",
        "fleet": "home",
        "retraining": answer["id"],
    }


def ended(store: Any, folder: Path) -> Any:
    for _ in range(240):
        entries = [
            one for one in store.audit(fleet="home") if one.action in ("retraining.done", "retraining.fail")
        ]
        if entries:
            return entries[0]
        time.sleep(0.5)
    raise AssertionError([file.read_text()[-2000:] for file in (folder / "retraining").glob("*.log")])
