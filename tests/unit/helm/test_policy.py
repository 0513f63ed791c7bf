"""What a security review asks of every pod, in every profile."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.unit.helm.rendering import CHART, PROFILES, containers, environment, pod_specs

pytestmark = pytest.mark.parametrize("profile", PROFILES)

ONE_SHOT = ("Job/", "CronJob/", "Pod/")


def test_no_pod_runs_as_root_or_with_more_than_it_needs(profile, render):
    for place, spec in pod_specs(render(PROFILES[profile])):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, place
        assert security["runAsUser"] >= 999, place
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, place
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not spec.get(field), f"{place} {field}"
        assert not any("hostPath" in volume for volume in spec.get("volumes", [])), place
    for place, container in containers(render(PROFILES[profile])):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, place
        assert security["readOnlyRootFilesystem"] is True, place
        assert security["capabilities"] == {"drop": ["ALL"]}, place
        assert "privileged" not in security, place


def test_every_container_has_requests_and_limits(profile, render):
    for place, container in containers(render(PROFILES[profile])):
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][kind]), f"{place} {kind}"


def test_every_server_is_probed(profile, render):
    for place, container in containers(render(PROFILES[profile])):
        if place.startswith(ONE_SHOT) or place.endswith(" migrate"):
            continue
        if place.startswith("RayCluster/"):
            continue  # KubeRay puts its own probes into Ray's containers
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe], f"{place} {probe}"


def test_only_the_ray_head_gets_a_token_for_the_kubernetes_api(profile, render):
    objects = render(PROFILES[profile])
    for place, spec in pod_specs(objects):
        assert spec["serviceAccountName"] != "default", place
        assert spec["automountServiceAccountToken"] is (place == "RayCluster/acclimate-ray head"), place
    for place, item in objects.items():
        if item["kind"] == "ServiceAccount":
            assert item["automountServiceAccountToken"] is False, place


def test_roles_name_what_they_allow(profile, render):
    for place, item in render(PROFILES[profile]).items():
        assert item["kind"] not in ("ClusterRole", "ClusterRoleBinding"), place
        if item["kind"] == "Role":
            for rule in item["rules"]:
                assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"], place
                assert "secrets" not in rule["resources"], place


def test_no_secret_is_made_or_written_inline(profile, render):
    objects = render(PROFILES[profile])
    assert not any(item["kind"] == "Secret" for item in objects.values())
    for place, container in containers(objects):
        for name, value in environment(container).items():
            if re.search(r"PASSWORD|TOKEN$|SECRET|ACCESS_KEY(_ID)?$", name):
                assert set(value) == {"secretKeyRef"}, f"{place} {name}"
            if isinstance(value, str):
                assert not re.search(r"://[^/@]*:[^/@]*@", value), f"{place} {name} carries a password"


def test_every_pod_stands_behind_a_network_policy_both_ways(profile, render):
    objects = render(PROFILES[profile])
    policies = [item["spec"] for item in objects.values() if item["kind"] == "NetworkPolicy"]
    for place, item in objects.items():
        if item["kind"] not in ("Deployment", "StatefulSet", "Job", "CronJob"):
            continue
        spec = item["spec"].get("jobTemplate", item)["spec"]
        labels = spec["template"]["metadata"]["labels"]
        chosen = [p for p in policies if p["podSelector"]["matchLabels"].items() <= labels.items()]
        assert len(chosen) == 1, place
        assert sorted(chosen[0]["policyTypes"]) == ["Egress", "Ingress"], place


def test_whoever_reaches_mlflow_from_elsewhere_shows_a_login(profile, render):
    objects = render(PROFILES[profile])
    server = dict(containers(objects))["Deployment/acclimate-mlflow mlflow"]
    [rule] = objects["NetworkPolicy/acclimate-mlflow"]["spec"]["ingress"]
    own = [peer for peer in rule["from"] if set(peer) == {"podSelector"}]
    assert len(own) == 2, "a peer without a namespace selector is of the release's namespace"
    login = "--app-name=basic-auth" in server["args"]
    assert login or rule["from"] == own
    assert login == ("MLFLOW_AUTH_ADMIN_PASSWORD" in environment(server))
    assert login == (
        "MLFLOW_TRACKING_PASSWORD"
        in environment(next(c for place, c in containers(objects) if place.endswith(" rollout")))
    )


def test_images_are_pinned(profile, render):
    for place, container in containers(render(PROFILES[profile])):
        tag = container["image"].rpartition(":")[2]
        assert tag != "latest", place
        assert "/" not in tag, f"{place} has no tag"


def test_no_values_file_holds_a_secret(profile):
    for path in CHART.glob("values*.yaml"):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        assert "PRIVATE KEY" not in text
        flat = yaml.safe_load(text)
        assert "password" not in flat.get("database", {})
