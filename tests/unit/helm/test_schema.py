"""Mistakes in values are refused before anything reaches the cluster, and the message names the key."""

from __future__ import annotations

import pytest
import yaml

from tests.unit.helm.rendering import CHART, EVERYTHING, FREE_MAPS, MINIMAL, merged, nested

helm_python = pytest.importorskip("helm_python")

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
WITH_RAY = merged(MINIMAL, {"ray": {"enabled": True}})
WORKERS = DEFAULTS["ray"]["workers"][0]
EXPOSED = {"host": "x.example.com", "trustedProxies": ["10.0.0.0/8"]}


def sections(values, prefix=""):
    """Every dotted place whose keys are the chart's own, the root as the empty string."""
    yield prefix.rstrip(".")
    for key, value in values.items():
        if isinstance(value, dict) and value and f"{prefix}{key}" not in FREE_MAPS:
            yield from sections(value, f"{prefix}{key}.")


@pytest.mark.parametrize("section", [s for s in sections(DEFAULTS) if not s.endswith(("requests", "limits"))])
def test_an_unknown_key_is_refused_at_every_level(section, chart):
    mistake = nested(f"{section}.replcias".lstrip("."), 3)
    with pytest.raises(helm_python.HelmError, match="replcias"):
        chart.render(merged(MINIMAL, mistake), name="acclimate", namespace="fleet")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("rollout.replicas", 0, "replicas"),
        ("rollout.replicas", "three", "replicas"),
        ("fullnameOverride", "9lives", "fullnameOverride"),
        ("commonLabels", {"app.kubernetes.io/name": "other"}, "app.kubernetes.io/name"),
        ("commonLabels", {"team": "edge devices"}, "commonLabels"),
        ("pods.extraVolumeMounts", [{"name": "data"}], "extraVolumeMounts"),
        ("ray.faultTolerance.redisAddress", "redis 6379", "redisAddress"),
        ("rollout.image.digest", "sha256:12", "digest"),
        ("rollout.settings.log_format", "xml", "log_format"),
        ("rollout.settings.max_body_bytes", -1, "max_body_bytes"),
        ("rollout.resources.limits.memory", "lots", "memory"),
        ("repository.refresh.schedule", "often", "schedule"),
        ("repository.refresh.schedule", "17 */4 * *", "schedule"),
        ("repository.refresh.schedule", "61 * * * *", "schedule"),
        ("repository.refresh.schedule", "0 24 * * *", "schedule"),
        ("repository.refresh.schedule", "0 0 32 * *", "schedule"),
        ("repository.refresh.schedule", "0 0 * * 8", "schedule"),
        ("repository.volume.accessMode", "ReadWriteTwice", "accessMode"),
        ("mlflow.database.name", 'x"; DROP DATABASE acclimate; --', "name"),
        ("objectStore.endpoint", "minio:9000", "endpoint"),
        ("ray.workers", [], "workers"),
        ("ray.workers", [WORKERS | {"name": "CPU_1"}], "name"),
        ("ray.workers", [WORKERS | {"nodeSelector": {"gpu": "yes please"}}], "nodeSelector"),
        ("ray.poolCache.className", "Fast_SSD", "className"),
        ("ray.home.existingClaim", "my claim", "existingClaim"),
        ("images.pullSecrets", ["My Secret"], "pullSecrets"),
        ("images.registry", "https://registry.example.com", "registry"),
        ("rollout.image.name", "Acclimate", "name"),
        ("commonLabels", {"a/b/c": "x"}, "a/b/c"),
        ("database.host", "db example", "host"),
        ("pods.extraVolumes", [{"name": "tmp", "emptyDir": {}}], "extraVolumes"),
        ("pods.extraVolumeMounts", [{"name": "x", "mountPath": "relative"}], "mountPath"),
        ("pods.extraEnv", [{"name": "1 BAD", "value": "x"}], "extraEnv"),
        ("extraObjects", [{"kind": "ConfigMap"}], "extraObjects"),
        ("expose.type", "route", "type"),
        ("expose.trustedProxies", ["*"], "trustedProxies"),
        ("expose.trustedProxies", ["10.0.0.0/99"], "trustedProxies"),
        ("expose.trustedProxies", ["300.0.0.0/8"], "trustedProxies"),
        ("monitoring.serviceMonitor.interval", "fast", "interval"),
    ],
)
def test_a_wrong_value_is_refused_by_name(key, value, named, chart):
    with pytest.raises(helm_python.HelmError, match=named):
        chart.render(merged(MINIMAL, nested(key, value)), name="acclimate", namespace="fleet")


@pytest.mark.parametrize("schedule", ["17 */4 * * *", "@daily", "0,30 8-18 * * mon-fri", "5 0 1 jan,jul *"])
def test_schedules_that_cron_takes_pass(schedule, chart):
    values = merged(MINIMAL, nested("repository.refresh.schedule", schedule))
    chart.render(values, name="acclimate", namespace="fleet")


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        (
            MINIMAL | {"rollout": {"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}},
            "minReplicas 9 is above maxReplicas 3",
        ),
        (
            merged(MINIMAL, nested("rollout.resources.requests.memory", "8Gi")),
            "rollout.resources.requests.memory 8Gi is above rollout.resources.limits.memory",
        ),
        (
            merged(WITH_RAY, nested("ray.head.resources.requests.cpu", "2500m")),
            "ray.head.resources.requests.cpu 2500m is above",
        ),
        (
            merged(WITH_RAY, nested("ray.workers", [WORKERS | {"replicas": 9}])),
            "replicas 9 must lie between minReplicas 0 and maxReplicas 8",
        ),
        (merged(WITH_RAY, nested("ray.workers", [WORKERS, WORKERS])), "two groups called"),
        (
            MINIMAL | {"pods": {"extraVolumeMounts": [{"name": "nowhere", "mountPath": "/data"}]}},
            "no extraVolumes has that name",
        ),
        (
            {"database": {"host": "pg", "sslMode": "verify-full"}},
            "pods.caBundle names no certificates to verify the server with",
        ),
        (
            MINIMAL | {"pods": {"caBundle": {"existingConfigMap": "a", "existingSecret": "b"}}},
            "give one of them",
        ),
        ({}, "database.host is empty: name the PostgreSQL server, or set postgresql.enabled=true"),
        (MINIMAL | {"expose": {"type": "ingress"}}, "expose.host is empty"),
        (
            MINIMAL | {"expose": {"type": "ingress", "host": "x.example.com"}},
            "expose.trustedProxies is empty: name the network of the pods behind expose.type=ingress",
        ),
        (MINIMAL | {"expose": EXPOSED | {"type": "gateway"}}, "needs expose.gateway.className"),
        (
            MINIMAL | {"expose": EXPOSED | {"type": "ingress", "tls": {"secretName": ""}}},
            "expose.tls.secretName is empty",
        ),
        (
            MINIMAL | {"mlflow": {"auth": {"clients": [{"namespaceSelector": {}}]}}},
            "name its Secret in mlflow.auth.existingSecret",
        ),
        (
            MINIMAL | {"rollout": {"signingKey": {"existingSecret": ""}}},
            "rollout.signingKey.existingSecret is empty",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(values, remedy, chart):
    with pytest.raises(helm_python.HelmError, match=remedy):
        chart.render(values, name="acclimate", namespace="fleet")


def places(values, prefix=""):
    """Every dotted place, sections and single values."""
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from places(value, f"{prefix}{key}.")


@pytest.mark.parametrize("section", sorted({place.partition(".")[0] for place in places(DEFAULTS)}))
def test_null_at_any_place_is_as_if_left_out_or_refused_by_name(section, chart):
    """`null` takes a default away, as does a section whose every line is commented out."""
    for place in (one for one in places(DEFAULTS) if one.partition(".")[0] == section):
        for values in (MINIMAL, EVERYTHING):
            try:
                chart.render(merged(values, nested(place, None)), name="acclimate", namespace="fleet")
            except helm_python.HelmError as error:
                said = str(error)
                last = place.rpartition(".")[2]
                told = f"missing property '{last}'" in said or "execution error at" in said  # by `fail`
                assert told, f"{place}: {said[-300:]}"
                assert "nil" not in said, f"{place}: {said[-300:]}"
