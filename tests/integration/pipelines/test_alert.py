"""From Alertmanager's webhook to a pipeline run: the real service, the real command, a stub of Kubeflow."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from acclimate.rollout.store import open_store
from acclimate_device.protocol import Release
from tests.integration.rollout.test_retraining import NOTIFICATION, ended
from tests.support.rollout_samples import NOW, a_fleet
from tests.support.serving import Served
from tests.support.stub_kubeflow import TOKEN, StubKubeflow, serving

pytestmark = pytest.mark.slow


def test_an_alert_starts_the_pipeline_with_its_lineage(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    store.add_fleet(a_fleet(), "ada")
    store.set_baseline("home", "", Release("waves", 1, "a" * 64), NOW, "ada")
    run = [sys.executable, "-m", "acclimate", "pipeline", "run", "sinusoid", "--set", "name={model}"]
    command = f"{shlex.join([*run, '--fleet', '{fleet}'])} {{lineage}}"
    service = Served(tmp_path)
    with serving(StubKubeflow()) as kubeflow:
        service.start(
            ACCLIMATE_RETRAIN_COMMAND=command, ACCLIMATE_KFP_HOST=kubeflow.url, ACCLIMATE_KFP_TOKEN=TOKEN
        )
        try:
            url = f"{service.url}/api/v1/alertmanager"
            [answer] = httpx.post(url, json=NOTIFICATION, headers=service.admin).json()
            assert answer["started"], answer
            done = ended(store, tmp_path)
            assert done.action == "retraining.done", done.detail
        finally:
            service.stop()
            store.close()
    [made] = kubeflow.runs
    given = made["runtime_config"]["parameters"]
    assert yaml.safe_load(given["recipe"])["name"] == "waves"
    assert given["fleet"] == "home"
    facts = {key: given["tags"][key] for key in ("trigger", "trigger_detail", "parent_version", "retraining")}
    assert facts == {
        "trigger": "alertmanager",
        "trigger_detail": "AcclimateFleetDrifts",
        "parent_version": "1",
        "retraining": answer["id"],
    }
