"""The MLflow that the chart starts: on PostgreSQL, deaf to foreign hosts, its state kept, with a login."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest

from tests.integration.helm.conftest import PASSWORD, resolved, started
from tests.support.ports import free_port
from tests.unit.helm.rendering import SMALL, at, merged

pytestmark = pytest.mark.slow
INSIDE = "acclimate-mlflow.fleet.svc:5000"
LOGIN = {"username": "admin", "password": "a long password of the tests", "flask-secret-key": "f" * 32}
SECRETS = {("acclimate-database", "password"): PASSWORD} | {
    ("login", key): text for key, text in LOGIN.items()
}


def test_it_keeps_its_runs_refuses_foreign_hosts_and_asks_for_a_login(rendered, postgres, tmp_path):
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    experiments = f"{base}/api/2.0/mlflow/experiments"

    def serving(objects, log):
        container = at(objects, "Deployment/acclimate-mlflow", "spec>template>spec>containers>mlflow")
        arguments = [
            argument.replace("--port=5000", f"--port={port}")
            .replace("0.0.0.0", "127.0.0.1")
            .replace("/var/lib/mlflow", str(tmp_path / "artifacts"))
            for argument in container["args"]
        ]
        if "ConfigMap/acclimate-mlflow" in objects:
            for name, text in at(objects, "ConfigMap/acclimate-mlflow", "data").items():
                (tmp_path / name).write_text(postgres.reached(text))
        env = resolved(
            container, SECRETS, lambda text: postgres.reached(text).replace("/etc/mlflow", str(tmp_path))
        )
        probe = base + container["readinessProbe"]["httpGet"]["path"]
        [first] = at(objects, "Deployment/acclimate-mlflow", "spec>template>spec>initContainers")
        migrated = subprocess.run(
            [sys.executable, *first["command"][1:]],
            env={**os.environ, **resolved(first, SECRETS, postgres.reached), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert migrated.returncode == 0, migrated.stderr
        assert migrated.stdout.split()[-1] == ("migrated" if log == "open.log" else "current")
        return started(
            [*container["command"], *arguments], env | {"HOME": str(tmp_path)}, probe, tmp_path / log
        )

    alone = merged(SMALL, {"mlflow": {"workers": 1}})  # they share everything, and each loads all of MLflow
    with serving(rendered(alone), "open.log"):
        create = {"url": f"{experiments}/create", "json": {"name": "kept"}}
        assert httpx.post(**create, headers={"host": "rebound.example.com"}).status_code == 403
        assert httpx.post(**create, headers={"host": INSIDE}).status_code == 200
    with serving(rendered(merged(alone, {"mlflow": {"auth": {"existingSecret": "login"}}})), "login.log"):
        found = {"url": f"{experiments}/get-by-name", "params": {"experiment_name": "kept"}}
        wrong, right = ("admin", "wrong"), (LOGIN["username"], LOGIN["password"])
        assert [httpx.get(**found, auth=auth).status_code for auth in (None, wrong)] == [401, 401]
        assert httpx.post(f"{experiments}/create", json={"name": "sneaked in"}).status_code == 401
        kept = httpx.get(**found, auth=right)
        assert json.loads(kept.text)["experiment"]["artifact_location"].startswith("mlflow-artifacts:")
        assert LOGIN["password"] not in (tmp_path / "login.log").read_text()
