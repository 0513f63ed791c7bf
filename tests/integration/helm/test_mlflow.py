"""The MLflow that the chart starts: on PostgreSQL, deaf to foreign hosts, with its state outside the pod."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.integration.helm.conftest import PASSWORD, free_port, resolved, started, status
from tests.unit.helm.rendering import at

pytestmark = pytest.mark.slow
INSIDE = "acclimate-mlflow.fleet.svc:5000"


def test_the_charts_mlflow_keeps_its_runs_and_refuses_foreign_hosts(small, postgres, tmp_path):
    container = at(small, "Deployment/acclimate-mlflow", "spec>template>spec>containers>mlflow")
    secrets = {("acclimate-database", "password"): PASSWORD}
    port = free_port()
    arguments = [
        argument.replace("--port=5000", f"--port={port}")
        .replace("0.0.0.0", "127.0.0.1")
        .replace("/var/lib/mlflow", str(tmp_path / "artifacts"))
        for argument in container["args"]
    ]
    env = resolved(container, secrets, postgres.reached) | {"HOME": str(tmp_path)}
    command = [*container["command"], *arguments]
    base = f"http://127.0.0.1:{port}"
    probe = base + container["readinessProbe"]["httpGet"]["path"]
    experiment = json.dumps({"name": "kept"}).encode()
    create = f"{base}/api/2.0/mlflow/experiments/create"
    with started(command, env, probe, tmp_path / "first.log"):
        assert status(create, INSIDE, experiment) == 200
        assert status(create, "rebound.example.com", experiment) == 403
    with started(command, env, probe, tmp_path / "second.log"):
        found = urllib.request.Request(f"{base}/api/2.0/mlflow/experiments/get-by-name?experiment_name=kept")
        found.add_header("host", INSIDE)
        with urllib.request.urlopen(found, timeout=10) as reply:
            assert json.load(reply)["experiment"]["artifact_location"].startswith("mlflow-artifacts:")
