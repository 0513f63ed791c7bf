"""The chart on a real cluster: install, test, use, upgrade, roll back, and nothing is lost on the way.

Asked for by `make test-cluster` with KUBECONFIG set; needs `helm` and `kubectl`, and the images of
helm/images in the cluster (ACCLIMATE_IMAGE_REGISTRY, or loaded into its nodes). The tests run in their order
on one release in a namespace of their own, which goes when they end.

    ACCLIMATE_IMAGE_REGISTRY    registry and path of the images; without it the nodes must hold them
    ACCLIMATE_IMAGE_TAG         their tag (default: the chart's appVersion)
    ACCLIMATE_WITH_RAY          1 where the KubeRay operator runs: submits a RayJob as well
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate import __version__

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "acclimate"
RELEASE = "acclimate"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="needs a cluster: set KUBECONFIG"),
]


def run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


class Cluster:
    """One namespace with one release of the chart."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.admin_token = secrets.token_urlsafe(32)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return run("kubectl", "-n", self.namespace, *arguments, given=given)

    def helm(self, verb: str, *arguments: str) -> str:
        return run("helm", verb, RELEASE, "-n", self.namespace, *arguments)

    def upgrade(self, *sets: str) -> str:
        """`helm upgrade --install` of the trial profile with more values set."""
        values = [f"images.registry={os.environ.get('ACCLIMATE_IMAGE_REGISTRY', '')}", *sets]
        if tag := os.environ.get("ACCLIMATE_IMAGE_TAG"):
            values += [f"{part}.image.tag={tag}" for part in ("rollout", "mlflow", "ray")]
        given = [argument for value in values for argument in ("--set", value)]
        profile = str(CHART / "values-small.yaml")
        return self.helm(
            "upgrade", str(CHART), "--install", "-f", profile, *given, "--wait", "--timeout", "10m"
        )

    def secret(self, name: str, **data: str) -> None:
        """Make or replace a Secret; its content goes by standard input, never onto a command line."""
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        self.kubectl("apply", "-f", "-", given=json.dumps(manifest))

    @contextmanager
    def service(self) -> Iterator[str]:
        """The rollout service's address on this machine."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["kubectl", "-n", self.namespace, "port-forward", f"svc/{RELEASE}-rollout", f"{port}:80"]
        forward = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{address}/healthz", timeout=5).close()
                    break
                except OSError:
                    assert time.monotonic() < end, "kubectl port-forward does not reach the service"
                    time.sleep(0.5)
            yield address
        finally:
            forward.terminate()
            forward.wait()

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the operators' API."""
        with self.service() as address:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(address + path, data, method=method)
            request.add_header("authorization", f"Bearer {self.admin_token}")
            request.add_header("content-type", "application/json")
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                pytest.fail(f"{method} {path}: {error.code} {error.read().decode()}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    for tool in ("helm", "kubectl"):
        if shutil.which(tool) is None:
            pytest.fail(f"KUBECONFIG is set but {tool} is not installed")
    made = Cluster(f"acclimate-test-{secrets.token_hex(3)}")
    run("kubectl", "create", "namespace", made.namespace)
    # The strictest of Kubernetes' own policies: a pod that asks for more than the chart says is not let in.
    run("kubectl", "label", "namespace", made.namespace, "pod-security.kubernetes.io/enforce=restricted")
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made.secret("acclimate-service-key", **{"service-key.pem": key.decode()})
    made.secret("acclimate-database", password=secrets.token_urlsafe(24))
    made.secret("acclimate-admin", **{"admin-token": made.admin_token})
    try:
        yield made
    finally:
        run("kubectl", "delete", "namespace", made.namespace, "--wait=false")


def test_install(cluster):
    assert "helm test" in cluster.upgrade()


def test_helm_test(cluster):
    cluster.helm("test", "--logs", "--timeout", "5m")


def test_a_fleet_is_made(cluster):
    cluster.api("POST", "/api/v1/fleets", {"name": "kept"})
    assert "kept" in json.dumps(cluster.api("GET", "/api/v1/fleets"))


@pytest.mark.skipif(os.environ.get("ACCLIMATE_WITH_RAY") != "1", reason="needs KubeRay: ACCLIMATE_WITH_RAY=1")
def test_a_recipe_trains_as_a_rayjob(cluster):
    registry = os.environ.get("ACCLIMATE_IMAGE_REGISTRY", "")
    tag = os.environ.get("ACCLIMATE_IMAGE_TAG", __version__)
    submit = [sys.executable, "-m", "acclimate", "submit", "sinusoid", "--kubernetes"]
    options = {
        "--namespace": cluster.namespace,
        "--image": f"{registry}{'/' if registry else ''}acclimate-trainer:{tag}",
        "--tracking-uri": f"http://{RELEASE}-mlflow.{cluster.namespace}.svc:5000",
        "--workers": "2",
        "--memory": "2Gi",
    }
    arguments = [word for option in options.items() for word in option]
    changes = ("training.steps=20", "baseline.joint=false", "evaluation.draws=1", "evaluation.tasks=20")
    log = run(*submit, *arguments, *(word for change in changes for word in ("--set", change)))
    assert "Registered sinusoid version 1" in log
    listed = run(sys.executable, "-m", "acclimate", "jobs", "list", "--json", *submit[-1:], *arguments[:2])
    [job] = json.loads(listed)
    assert (job["recipe"], job["state"]) == ("sinusoid", "succeeded")


def test_upgrade_keeps_the_fleet(cluster):
    cluster.upgrade("rollout.replicas=2", "rollout.settings.poll_interval_s=30")
    ready = cluster.kubectl(
        "get", "deployment", f"{RELEASE}-rollout", "-o", "jsonpath={.status.readyReplicas}"
    )
    assert ready == "2"
    assert "kept" in json.dumps(cluster.api("GET", "/api/v1/fleets"))


def test_rollback_keeps_the_fleet(cluster):
    cluster.helm("rollback", "1", "--wait", "--timeout", "10m")
    assert "kept" in json.dumps(cluster.api("GET", "/api/v1/fleets"))
    cluster.helm("test", "--timeout", "5m")


def test_the_data_outlives_the_release(cluster):
    cluster.helm("uninstall", "--wait")
    claims = cluster.kubectl("get", "persistentvolumeclaims", "-o", "name")
    assert "acclimate-repository" in claims
    assert "data-acclimate-postgresql-0" in claims
    cluster.upgrade()
    assert "kept" in json.dumps(cluster.api("GET", "/api/v1/fleets"))
