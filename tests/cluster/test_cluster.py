"""The chart on a real cluster: install, test, use, upgrade, roll back, and nothing is lost on the way.

Asked for by `make test-cluster` with KUBECONFIG set; needs `helm` and `kubectl`, and the images of
helm/images in the cluster (ACCLIMATE_IMAGE_REGISTRY, or loaded into its nodes). The tests run in their order
on one release in a namespace of their own, which goes when they end.

    ACCLIMATE_IMAGE_REGISTRY    registry and path of the images; without it the nodes must hold them
    ACCLIMATE_IMAGE_TAG         their tag (default: the chart's appVersion)
    ACCLIMATE_WITH_RAY          1: fail rather than skip the RayJob where the KubeRay operator is missing
    ACCLIMATE_POLICIES_HOLD     1: the cluster's network enforces NetworkPolicies, which is then tested
    ACCLIMATE_LAST_RELEASE      chart of the last release (a folder, a .tgz or oci://...), to upgrade from
    ACCLIMATE_MAY_DRAIN         1: a node may be drained for a while; the cluster has others, and its usual
                                StorageClass gives ReadWriteMany
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.given import (
    BUDGET,
    POD_LABELS,
    RELEASE,
    caller,
    namespace,
    secret_objects,
    stranger,
    submission,
    values,
)
from tests.support.fleet_journey import Operator, all_is_there, roll_out, sign_two_versions

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "acclimate"
TUF = "/var/lib/acclimate/repository/tuf"
# The image has Python, and need not have tar.
UNPACK = (
    "import sys, tarfile as t; "
    f"t.open(fileobj=sys.stdin.buffer, mode='r|').extractall({TUF!r}, filter='data')"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="needs a cluster: set KUBECONFIG"),
]


def run(*command: str, given: bytes = b"") -> str:
    done = subprocess.run(command, input=given, capture_output=True)
    printed, said = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, f"{' '.join(command)}\n{printed[-3000:]}{said[-3000:]}"
    return printed


class Cluster:
    """One namespace with one release of the chart."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.admin_token = secrets.token_urlsafe(32)
        self.chart = CHART

    def kubectl(self, *arguments: str, given: bytes = b"") -> str:
        return run("kubectl", "-n", self.namespace, *arguments, given=given)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Make or replace objects; they go by standard input, so no secret is on a command line."""
        for one in objects:
            self.kubectl("apply", "-f", "-", given=json.dumps(one).encode())

    def helm(self, verb: str, *arguments: str) -> str:
        return run("helm", verb, RELEASE, "-n", self.namespace, *arguments)

    def upgrade(self, *sets: str) -> str:
        """`helm upgrade --install` of the trial profile with more values set."""
        given = [argument for value in values(*sets) for argument in ("--set", value)]
        profile = str(self.chart / "values-small.yaml")
        return self.helm(
            "upgrade", str(self.chart), "--install", "-f", profile, *given, "--wait", "--timeout", "10m"
        )

    def publish(self, repository: Path) -> None:
        """Lay a signed repository down on the volume that the service serves."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for part in ("targets", "metadata"):
                archive.add(repository / part, part)
        into = ("exec", "-i", f"deploy/{RELEASE}-rollout", "--", "python", "-c", UNPACK)
        self.kubectl(*into, given=packed.getvalue())

    @contextmanager
    def service(self) -> Iterator[Operator]:
        """An operator of the rollout service, which is led to a port of this machine."""
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
            yield Operator(address, self.admin_token)
        finally:
            forward.terminate()
            forward.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    for tool in ("helm", "kubectl"):
        if shutil.which(tool) is None:
            pytest.fail(f"KUBECONFIG is set but {tool} is not installed")
    made = Cluster(f"acclimate-test-{secrets.token_hex(3)}")
    run("kubectl", "apply", "-f", "-", given=json.dumps(namespace(made.namespace)).encode())
    try:
        made.apply(*secret_objects(made.admin_token))
        yield made
    finally:
        run("kubectl", "delete", "namespace", made.namespace, "--wait=false")


def last_release(folder: Path) -> Path | None:
    """The last release's chart as a folder, where one is given."""
    given = os.environ.get("ACCLIMATE_LAST_RELEASE")
    if given is None or Path(given).is_dir():
        return None if given is None else Path(given)
    run("helm", "pull", given, "--untar", "--untardir", str(folder))
    return folder / "acclimate"


def test_install(cluster, tmp_path):
    cluster.chart = last_release(tmp_path) or CHART
    assert "helm test" in cluster.upgrade()


def test_helm_test(cluster):
    cluster.helm("test", "--logs", "--timeout", "5m")


def test_a_version_is_rolled_out_to_simulated_devices(cluster, tmp_path):
    sign_two_versions(tmp_path)
    cluster.publish(tmp_path / "tuf")
    with cluster.service() as operator:
        roll_out(operator, tmp_path)
        all_is_there(operator)


def test_upgrade_from_the_last_release_keeps_what_was_reported(cluster):
    if cluster.chart == CHART:
        pytest.skip("no chart to upgrade from: set ACCLIMATE_LAST_RELEASE")
    cluster.chart = CHART
    cluster.upgrade()
    with cluster.service() as operator:
        all_is_there(operator)


def test_a_recipe_trains_as_a_rayjob(cluster):
    if "rayjobs.ray.io" not in run("kubectl", "get", "crd", "-o", "name"):
        assert os.environ.get("ACCLIMATE_WITH_RAY") != "1", "ACCLIMATE_WITH_RAY=1, and no KubeRay operator"
        pytest.skip("the KubeRay operator is not installed in the cluster")
    acclimate = (sys.executable, "-m", "acclimate")
    assert "Registered sinusoid version 1" in run(*acclimate, *submission(cluster.namespace))
    place = ("--kubernetes", "--namespace", cluster.namespace)
    [job] = json.loads(run(*acclimate, "jobs", "list", "--json", *place))
    assert (job["recipe"], job["state"]) == ("sinusoid", "succeeded")


def test_strangers_reach_neither_database_nor_registry(cluster):
    """One who may: the service, which answered above."""
    if os.environ.get("ACCLIMATE_POLICIES_HOLD") != "1":
        pytest.skip("needs a network that enforces policies: ACCLIMATE_POLICIES_HOLD=1")
    for name, port in (("postgresql", 5432), ("mlflow", 5000)):
        cluster.apply(stranger(f"stranger-{name}", f"{RELEASE}-{name}", port))
        pod = f"pod/stranger-{name}"
        cluster.kubectl("wait", pod, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=3m")
        assert "kept out" in cluster.kubectl("logs", pod)


def test_a_backup_is_made_by_the_cron_job(cluster):
    cluster.upgrade("backup.enabled=true", "backup.volume.size=1Gi")
    cluster.kubectl("create", "job", "backup-now", f"--from=cronjob/{RELEASE}-backup")
    cluster.kubectl("wait", "job/backup-now", "--for=condition=complete", "--timeout=5m")
    assert "each file with its hash" in cluster.kubectl("logs", "job/backup-now")


def test_upgrade_keeps_what_was_reported(cluster):
    cluster.upgrade("rollout.replicas=2", "rollout.settings.poll_interval_s=30")
    ready = cluster.kubectl(
        "get", "deployment", f"{RELEASE}-rollout", "-o", "jsonpath={.status.readyReplicas}"
    )
    assert ready == "2"
    with cluster.service() as operator:
        all_is_there(operator)


def test_a_node_is_drained_and_the_service_answers_all_the_while(cluster):
    if os.environ.get("ACCLIMATE_MAY_DRAIN") != "1":
        pytest.skip("drains a node of the cluster: ACCLIMATE_MAY_DRAIN=1")
    cluster.upgrade("rollout.replicas=2", BUDGET)
    where = ("-l", POD_LABELS, "-o", "jsonpath={.items[0].spec.nodeName}")
    node = cluster.kubectl("get", "pods", *where)
    cluster.apply(caller("caller", f"http://{RELEASE}-rollout/healthz"))
    cluster.kubectl("wait", "pod/caller", "--for=condition=Ready", "--timeout=3m")
    try:
        # Of the service's pods alone: whoever else is on that node stays.
        chosen = ("--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={POD_LABELS}")
        run("kubectl", "drain", node, *chosen, "--timeout=5m")
        cluster.kubectl("rollout", "status", f"deployment/{RELEASE}-rollout", "--timeout=5m")
    finally:
        run("kubectl", "uncordon", node)
    assert cluster.kubectl("logs", "pod/caller").splitlines() == ["it answers"]
    with cluster.service() as operator:
        all_is_there(operator)


def test_rollback_keeps_what_was_reported(cluster):
    cluster.helm("rollback", "1", "--wait", "--timeout", "10m")
    with cluster.service() as operator:
        all_is_there(operator)
    cluster.helm("test", "--timeout", "5m")


def test_the_data_outlives_the_release(cluster):
    cluster.helm("uninstall", "--wait")
    claims = cluster.kubectl("get", "persistentvolumeclaims", "-o", "name")
    assert "acclimate-repository" in claims
    assert "data-acclimate-postgresql-0" in claims
    cluster.upgrade()
    with cluster.service() as operator:
        all_is_there(operator)
