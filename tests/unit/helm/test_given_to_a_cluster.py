"""What tests/cluster would give to a cluster is what Kubernetes and KubeRay accept, strictly."""

from __future__ import annotations

import json

import jsonschema
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from acclimate.cli.main import cli
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
from tests.unit.helm.rendering import SMALL, at, merged, nested, pod_specs
from tests.unit.helm.test_manifests import KUBERNETES
from tests.unit.training.jobs.test_rayjob import RAY_JOB, templates

VERSIONS = [KUBERNETES[0], KUBERNETES[-1]]


@pytest.fixture(scope="module")
def installed(render):
    """The objects of the trial profile with the tests' values."""
    pairs = (value.partition("=") for value in values("rollout.replicas=2", BUDGET))
    given = [nested(key, json.loads(text) if text in ("2", "true") else text) for key, _, text in pairs]
    return render(merged(SMALL, *given))


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_each_object(version, installed):
    pod = stranger("stranger", "acclimate-mlflow", 5000)
    asks = caller("caller", f"http://{RELEASE}-rollout/healthz")
    builtin = [namespace("x"), *secret_objects("token"), pod, asks, *installed.values()]
    assert len(builtin) > 20
    for one in builtin:
        kubernetes_validate.validate(one, version, strict=True)


def test_who_is_drained_is_the_service_and_its_budget_lets_one_go(installed):
    wanted = dict(one.split("=") for one in POD_LABELS.split(","))
    found = [
        name
        for name, spec in installed.items()
        if spec["kind"] in ("Deployment", "StatefulSet")
        and wanted.items() <= spec["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert found == [f"Deployment/{RELEASE}-rollout"]
    budget = at(installed, f"PodDisruptionBudget/{RELEASE}-rollout", "spec")
    labels = installed[found[0]]["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert budget["maxUnavailable"] not in (0, "0%", "100%")


def test_every_secret_that_the_release_refers_to_is_made(installed):
    made = {one["metadata"]["name"]: set(one["stringData"]) for one in secret_objects("token")}
    wanted = []
    for _, spec in pod_specs(installed):
        for container in spec.get("initContainers", []) + spec["containers"]:
            references = [
                one["valueFrom"]["secretKeyRef"] for one in container.get("env", []) if "valueFrom" in one
            ]
            wanted += [(one["name"], one["key"]) for one in references]
        for volume in spec.get("volumes", []):
            secret = volume.get("secret", {"items": []})
            wanted += [(secret["secretName"], item["key"]) for item in secret["items"]]
    assert {name for name, _ in wanted} == set(made)
    for name, key in wanted:
        assert key in made[name], name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_training_job_is_a_rayjob_that_reaches_the_charts_mlflow(version, installed):
    printed = CliRunner().invoke(cli, [*submission("fleet"), "--dry-run"])
    assert printed.exit_code == 0, printed.output
    job = yaml.safe_load(printed.stdout)
    jsonschema.validate(job["spec"], RAY_JOB)
    for name, template in templates(job).items():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **template}
        pod["metadata"] |= {"labels": template["metadata"]["labels"]}
        kubernetes_validate.validate(pod, version, strict=True)
        assert "acclimate/registry-client" in template["metadata"]["labels"]
    uri = json.loads(job["spec"]["runtimeEnvYAML"])["env_vars"]["MLFLOW_TRACKING_URI"]
    assert uri == f"http://{RELEASE}-mlflow.fleet.svc:5000"
    assert at(installed, f"Service/{RELEASE}-mlflow", "spec>ports>http>port") == 5000
