"""What is rendered is what Kubernetes and the operators accept, on the oldest to the newest version."""

from __future__ import annotations

import copy

import jsonschema
import kubernetes_validate
import pytest

from tests.unit.helm.custom_resources import SPECIFICATIONS
from tests.unit.helm.rendering import CHART, PRODUCTION, PROFILES, at, pod_specs

KUBERNETES = ["1.28", "1.31", "1.34", "1.37"]


def test_lint_finds_nothing_to_warn_of():
    helm_python = pytest.importorskip("helm_python")
    for name, values in PROFILES.items():
        report = helm_python.lint(CHART, values, strict=True)
        assert not report["errors"], name
        assert [m["error"] for m in report["messages"] if m["severity"] > 1] == [], name


@pytest.mark.parametrize(
    ("profile", "version"),
    [("everything", version) for version in KUBERNETES]
    + [(name, KUBERNETES[-1]) for name in PROFILES if name != "everything"],
)
def test_kubernetes_accepts_every_field(profile, version, render):
    builtin = {
        place: item
        for place, item in render(PROFILES[profile]).items()
        if (item["apiVersion"], item["kind"]) not in SPECIFICATIONS
    }
    assert len(builtin) > 10
    for place, item in builtin.items():
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{place} at {'.'.join(map(str, error.path))}: {error.message}")


def test_the_oldest_version_checked_is_the_oldest_that_the_chart_promises(chart):
    assert chart.metadata["kubeVersion"] == f">={KUBERNETES[0]}.0-0"


def test_a_misspelt_field_would_be_noticed(render):
    wrong = copy.deepcopy(render(PROFILES["minimal"])["Deployment/acclimate-rollout"])
    wrong["spec"]["template"]["spec"]["automountServiceAccountTokens"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_operators_accept_their_resources(render):
    found = set()
    for profile in ("production", "everything"):
        for place, item in render(PROFILES[profile]).items():
            kind = (item["apiVersion"], item["kind"])
            if kind in SPECIFICATIONS:
                found.add(kind)
                try:
                    jsonschema.validate(item["spec"], SPECIFICATIONS[kind])
                except jsonschema.ValidationError as error:
                    pytest.fail(f"{place} at {error.json_path}: {error.message}")
    assert found == set(SPECIFICATIONS)


@pytest.mark.parametrize("version", [KUBERNETES[0], KUBERNETES[-1]])
def test_ray_pods_are_pods(version, render):
    specs = [(place, spec) for place, spec in pod_specs(render(PRODUCTION)) if "RayCluster" in place]
    assert len(specs) == 2
    for place, spec in specs:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": spec}
        try:
            kubernetes_validate.validate(pod, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{place} at {'.'.join(map(str, error.path))}: {error.message}")


def test_services_and_monitors_find_their_pods(render):
    objects = render(PROFILES["everything"])
    pods = [
        item["spec"]["template"] for item in objects.values() if item["kind"] in ("Deployment", "StatefulSet")
    ]
    ray = objects["RayCluster/acclimate-ray"]["spec"]["headGroupSpec"]["template"]
    for place, item in objects.items():
        if item["kind"] == "Service":
            matches = [p for p in pods if item["spec"]["selector"].items() <= p["metadata"]["labels"].items()]
            ports = {port["name"] for p in matches for c in p["spec"]["containers"] for port in c["ports"]}
            assert len(matches) == 1, place
            assert {port["targetPort"] for port in item["spec"]["ports"]} <= ports, place
    scraped = objects["ServiceMonitor/acclimate-rollout"]["spec"]
    service = objects["Service/acclimate-rollout"]
    assert scraped["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert scraped["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert (
        objects["PodMonitor/acclimate-ray"]["spec"]["selector"]["matchLabels"].items()
        <= ray["metadata"]["labels"].items()
    )


def test_every_claim_account_and_config_map_that_is_named_is_made(render):
    for name, values in PROFILES.items():
        objects = render(values)
        for place, spec in pod_specs(objects):
            assert f"ServiceAccount/{spec['serviceAccountName']}" in objects, f"{name}: {place}"
            for volume in spec.get("volumes", []):
                claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                config = volume.get("configMap", {}).get("name")
                assert claim is None or f"PersistentVolumeClaim/{claim}" in objects, f"{name}: {place}"
                assert config is None or f"ConfigMap/{config}" in objects, f"{name}: {place}"


def test_the_autoscaler_scales_the_deployment_that_exists(render):
    objects = render(PRODUCTION)
    target = at(objects, "HorizontalPodAutoscaler/acclimate-rollout", "spec>scaleTargetRef")
    assert f"{target['kind']}/{target['name']}" in objects
