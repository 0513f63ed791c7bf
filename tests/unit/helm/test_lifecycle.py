"""Upgrades and rollbacks lose nothing."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml

from tests.unit.helm.rendering import (
    ABSENT,
    CHART,
    EVERYTHING,
    MINIMAL,
    PROFILES,
    SMALL,
    at,
    merged,
    objects_of,
)

helm_python = pytest.importorskip("helm_python")

# Fields that Kubernetes refuses to change: an upgrade that touches one fails, or must delete what it holds.
IMMUTABLE = {
    "Deployment": ["spec>selector"],
    "StatefulSet": ["spec>selector", "spec>serviceName", "spec>volumeClaimTemplates"],
    "PersistentVolumeClaim": ["spec>accessModes", "spec>storageClassName"],
    "RoleBinding": ["roleRef"],
    "Service": ["spec>clusterIP"],
}


@pytest.fixture
def next_version(tmp_path):
    """The same chart, released anew."""
    copy = tmp_path / "acclimate"
    shutil.copytree(CHART, copy)
    metadata = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(metadata | {"version": "0.2.0", "appVersion": "0.2.0"}))
    with helm_python.Chart.load(copy) as chart:
        yield chart


def test_a_new_version_changes_no_immutable_field(render, next_version):
    changed = merged(
        EVERYTHING, {"commonLabels": {"team": "edge"}, "rollout": {"podAnnotations": {"a": "b"}}}
    )
    before = render(EVERYTHING)
    after = objects_of(next_version.render(changed, name="acclimate", namespace="fleet", is_upgrade=True))
    assert set(before) == set(after)
    assert at(after, "Deployment/acclimate-rollout", "metadata>labels>app.kubernetes.io/version") == "0.2.0"
    for place, item in before.items():
        for path in IMMUTABLE.get(item["kind"], []):
            assert at(before, place, path) == at(after, place, path), f"{place} {path}"


def test_data_outlives_the_release(render):
    objects = render(EVERYTHING)
    claims = [item for item in objects.values() if item["kind"] == "PersistentVolumeClaim"]
    assert len(claims) == 4
    for claim in claims:
        assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert at(objects, "StatefulSet/acclimate-postgresql", "spec>persistentVolumeClaimRetentionPolicy") == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }


def test_the_schema_is_migrated_before_any_new_pod_starts(render):
    external = render(MINIMAL)
    hook = at(external, "Job/acclimate-migration", "metadata>annotations")
    assert hook["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert at(external, "Deployment/acclimate-rollout", "spec>template>spec>initContainers") is ABSENT
    for needed in ("ServiceAccount/acclimate-migration", "NetworkPolicy/acclimate-migration"):
        earlier = at(external, needed, "metadata>annotations")
        assert earlier["helm.sh/hook"] == hook["helm.sh/hook"]
        assert int(earlier["helm.sh/hook-weight"]) < int(hook["helm.sh/hook-weight"])
    inside = render(SMALL)
    assert "Job/acclimate-migration" not in inside, "a hook would run before the trial's database exists"
    job = at(external, "Job/acclimate-migration", "spec>template>spec>containers>migrate")
    init = at(inside, "Deployment/acclimate-rollout", "spec>template>spec>initContainers>migrate")
    assert init["args"] == job["args"]


def test_a_rollout_never_has_fewer_pods_than_asked_for(render):
    for name, values in PROFILES.items():
        strategy = at(render(values), "Deployment/acclimate-rollout", "spec>strategy>rollingUpdate")
        assert strategy["maxUnavailable"] == 0, name


@pytest.mark.parametrize("name", ["edge.fleet", "123", "9-lives"])
def test_every_release_name_that_helm_takes_gives_names_that_kubernetes_takes(name, render):
    for place, item in render(merged(EVERYTHING, {"extraObjects": []}), name=name).items():
        assert re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", item["metadata"]["name"]), place
        assert isinstance(item["metadata"]["labels"]["app.kubernetes.io/instance"], str), place


def test_names_that_look_like_numbers_stay_texts(render):
    secrets = {"images": {"pullSecrets": ["123"]}, "database": {"existingSecret": "456", "passwordKey": "7"}}
    pod = at(render(merged(MINIMAL, secrets)), "Deployment/acclimate-rollout", "spec>template>spec")
    assert pod["imagePullSecrets"] == [{"name": "123"}]
    reference = next(one for one in pod["containers"][0]["env"] if one["name"] == "PGPASSWORD")
    assert reference["valueFrom"]["secretKeyRef"] == {"name": "456", "key": "7"}


def test_steps_of_pipelines_can_write_their_volume(render):
    job = at(render(EVERYTHING), "Job/acclimate-pipeline-volume", "spec>template>spec")
    assert job["securityContext"]["fsGroup"] == 65532
    assert job["volumes"][0]["persistentVolumeClaim"]["claimName"] == "acclimate-pipeline"


def test_two_releases_share_a_namespace(render):
    values = merged(EVERYTHING, {"extraObjects": []})
    first = {place for place, item in render(values).items()}
    second = {place for place, item in render(values, name="second").items()}
    assert not first & second


def test_notes_say_the_next_command(chart):
    for values, command in [
        (SMALL, "port-forward svc/acclimate-rollout"),
        (EVERYTHING, "https://fleet.example.com"),
        (EVERYTHING, "--secret-env MLFLOW_TRACKING_PASSWORD=acclimate-mlflow-auth:password"),
        (EVERYTHING, "acclimate pipeline run RECIPE --fleet FLEET --volume acclimate-pipeline --repository"),
    ]:
        notes = chart.render(values, name="acclimate", namespace="fleet")["acclimate/templates/NOTES.txt"]
        assert "helm test acclimate -n fleet" in notes
        assert command in notes
