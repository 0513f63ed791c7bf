"""The rollout service that the chart starts: migrated first, tested by what `helm test` runs, upgraded."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.integration.helm.conftest import PASSWORD, resolved, started
from tests.support.ports import free_port
from tests.unit.helm.rendering import at

pytestmark = pytest.mark.slow
TOKEN = "an-administrator-token-of-the-tests-0123456789"
SECRETS = {("acclimate-database", "password"): PASSWORD, ("acclimate-admin", "admin-token"): TOKEN}


def acclimate(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "acclimate", *arguments]


def call(url: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data)
    request.add_header("authorization", f"Bearer {TOKEN}")
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


class Pod:
    """The service's pod, with its mounted files in a folder."""

    def __init__(self, objects, postgres, folder: Path) -> None:
        template = at(objects, "Deployment/acclimate-rollout", "spec>template>spec")
        self.container = template["containers"][0]
        self.migration = (template.get("initContainers") or [None])[0]
        if self.migration is None:
            self.migration = at(objects, "Job/acclimate-migration", "spec>template>spec>containers>migrate")
        self.test = at(objects, "Pod/acclimate-test", "spec>containers>test")
        self.folder, self.postgres = folder, postgres
        key = folder / "service-key.pem"
        if not key.exists():
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            key.write_bytes(pem)

    def environment(self, container, **more: str) -> dict[str, str]:
        def change(text: str) -> str:
            text = self.postgres.reached(text)
            text = text.replace("/etc/acclimate/keys", str(self.folder)).replace("0.0.0.0", "127.0.0.1")
            text = text.replace("http://acclimate-mlflow.fleet.svc:5000", "")
            return text.replace("/var/lib/acclimate", str(self.folder))

        changed = resolved(container, SECRETS, change)
        return {name: value for name, value in (changed | more).items() if value}

    def migrate(self) -> None:
        done = subprocess.run(
            acclimate(*self.migration["args"]),
            env=self.environment(self.migration) | {"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def serving(self, port: int):
        env = self.environment(self.container, ACCLIMATE_PORT=str(port))
        probe = f"http://127.0.0.1:{port}{self.container['readinessProbe']['httpGet']['path']}"
        return started(acclimate(*self.container["args"]), env, probe, self.folder / f"{port}.log")

    def helm_test(self, port: int) -> str:
        """What the test pod runs, led to this port."""
        program, _ = self.test["args"]
        done = subprocess.run(
            [sys.executable, "-c", program, f"http://127.0.0.1:{port}"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_install_upgrade_and_a_second_replica_on_the_charts_own_terms(small, postgres, tmp_path):
    pod = Pod(small, postgres, tmp_path)
    first, second = free_port(), free_port()
    pod.migrate()
    with pod.serving(first):
        assert pod.helm_test(first).count("ok: ") == 4
        call(f"http://127.0.0.1:{first}/api/v1/fleets", {"name": "kept"})
        log = (tmp_path / f"{first}.log").read_text()
        assert PASSWORD not in log
        assert TOKEN not in log
    pod.migrate()  # an upgrade to a version without new migrations
    with pod.serving(first), pod.serving(second):
        for port in (first, second):
            assert "kept" in json.dumps(call(f"http://127.0.0.1:{port}/api/v1/fleets"))


def test_the_hook_job_migrates_an_external_database(external, postgres, tmp_path):
    Pod(external, postgres, tmp_path).migrate()
