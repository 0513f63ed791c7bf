"""Every value does what its comment says: one assertion per key, and no key without one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import yaml

from docs.reference_pages import chart_readme
from tests.unit.helm.rendering import ABSENT, CHART, MINIMAL, at, containers, leaves, merged, nested

ROLLOUT = "Deployment/acclimate-rollout"
SERVICE = "Service/acclimate-rollout"
MIGRATION = "Job/acclimate-migration"
REFRESH = "CronJob/acclimate-refresh"
REFRESH_JOB = "spec>jobTemplate>spec"
MLFLOW = "Deployment/acclimate-mlflow"
POSTGRES = "StatefulSet/acclimate-postgresql"
RAY = "RayCluster/acclimate-ray"
POLICY = "NetworkPolicy/acclimate-rollout"
POD = "spec>template>spec"
CONTAINER = f"{POD}>containers>0"
ENV = f"{CONTAINER}>env"
RAY_HEAD = "spec>headGroupSpec>template>spec"
RAY_WORKER = "spec>workerGroupSpecs>0>template>spec"

TRIAL = {"postgresql": {"enabled": True}}
WITH_RAY = {"ray": {"enabled": True}}
WITH_REDIS = {"ray": {"enabled": True, "faultTolerance": {"redisAddress": "redis:6379"}}}
CA = {"pods": {"caBundle": {"existingConfigMap": "ca"}}}
PROXY = [{"name": "HTTPS_PROXY", "value": "http://proxy"}]
VOLUMES = [{"name": "data", "persistentVolumeClaim": {"claimName": "recordings"}}]
MOUNTS = [{"name": "data", "mountPath": "/data"}]
EXPOSED = {"expose": {"host": "fleet.example.com", "trustedProxies": ["10.0.0.0/8"]}}
INGRESS = merged(EXPOSED, {"expose": {"type": "ingress"}})
GATEWAY = merged(EXPOSED, {"expose": {"type": "gateway", "gateway": {"className": "istio"}}})
PIPELINES = {"pipelines": {"enabled": True}}
BACKUP = {"backup": {"enabled": True}}
BACKUPS, BACKUP_CLAIM = "CronJob/acclimate-backup", "PersistentVolumeClaim/acclimate-backup"
BACKUP_POD = "spec>jobTemplate>spec>template>spec"
PIPELINE_CLAIM = "PersistentVolumeClaim/acclimate-pipeline"
LOGIN = {"mlflow": {"auth": {"existingSecret": "login"}}}
STORE = {
    "repository": {"artifactsUrl": "s3://bucket/bundles"},
    "objectStore": {"existingSecret": "store"},
}
MONITORED = {
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    }
}
EXTERNAL_MLFLOW = {"mlflow": {"enabled": False}}
SCALED = {"rollout": {"autoscaling": {"enabled": True}}}
TOLERATIONS = [{"key": "edge", "operator": "Exists"}]
RESOURCES = {"requests": {"cpu": "3", "memory": "5Gi"}, "limits": {"cpu": "7", "memory": "9Gi"}}
DIGEST = "sha256:" + "a" * 64


class Case(NamedTuple):
    """Setting `key` to `value` puts `expected` at `path` of the object `place`."""

    key: str
    value: Any
    place: str
    path: str
    expected: Any
    beside: Mapping[str, Any] = MappingProxyType({})


def resources(key: str, place: str, path: str, beside: dict[str, Any]) -> list[Case]:
    """The four keys of a `resources` section."""
    return [
        Case(
            f"{key}.{kind}.{what}",
            value,
            place,
            f"{path}>resources>{kind}>{what}",
            value,
            # A request above its limit is refused.
            merged(nested(f"{key}.limits", RESOURCES["limits"]), beside) if kind == "requests" else beside,
        )
        for kind, amounts in RESOURCES.items()
        for what, value in amounts.items()
    ]


def setting(name: str, value: Any, text: str) -> Case:
    """One of the service's own settings arrives as its environment variable."""
    return Case(f"rollout.settings.{name}", value, ROLLOUT, f"{ENV}>ACCLIMATE_{name.upper()}>value", text)


CASES = [
    Case("nameOverride", "meta", "Deployment/acclimate-meta-rollout", "kind", "Deployment"),
    Case("fullnameOverride", "meta", "Deployment/meta-rollout", "kind", "Deployment"),
    Case("commonLabels", {"team": "edge"}, ROLLOUT, "metadata>labels>team", "edge"),
    Case("pods.caBundle.existingConfigMap", "ca", ROLLOUT, f"{POD}>volumes>ca>configMap>name", "ca"),
    Case("pods.caBundle.existingSecret", "ca", MLFLOW, f"{POD}>volumes>ca>secret>secretName", "ca"),
    Case("pods.caBundle.key", "all.pem", MIGRATION, f"{POD}>volumes>ca>configMap>items>0>key", "all.pem", CA),
    Case("pods.extraEnv", PROXY, REFRESH, f"{REFRESH_JOB}>template>spec>containers>0>env>HTTPS_PROXY>value", "http://proxy"),
    Case("pods.extraVolumes", VOLUMES, MLFLOW, f"{POD}>volumes>data>persistentVolumeClaim>claimName", "recordings"),
    Case("pods.extraVolumeMounts", MOUNTS, ROLLOUT, f"{CONTAINER}>volumeMounts>data>mountPath", "/data", {"pods": {"extraVolumes": VOLUMES}}),
    Case("openshift.enabled", True, ROLLOUT, f"{POD}>securityContext>runAsUser", ABSENT),
    Case("extraObjects", [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}], "ConfigMap/acclimate-extra", "kind", "ConfigMap"),
    Case("images.registry", "registry.example.com/a/", ROLLOUT, f"{CONTAINER}>image", "registry.example.com/a/acclimate-rollout:0.1.0"),
    Case("images.pullPolicy", "Always", ROLLOUT, f"{CONTAINER}>imagePullPolicy", "Always"),
    Case("images.pullSecrets", ["registry"], ROLLOUT, f"{POD}>imagePullSecrets", [{"name": "registry"}]),
    Case("rollout.image.name", "other", ROLLOUT, f"{CONTAINER}>image", "other:0.1.0"),
    Case("rollout.image.tag", "9", ROLLOUT, f"{CONTAINER}>image", "acclimate-rollout:9"),
    Case("rollout.image.digest", DIGEST, ROLLOUT, f"{CONTAINER}>image", f"acclimate-rollout@{DIGEST}"),
    Case("rollout.replicas", 5, ROLLOUT, "spec>replicas", 5),
    setting("epsilon_cap", 8.5, "8.5"),
    setting("poll_interval_s", 60, "60"),
    setting("device_token_lifetime_s", 600, "600"),
    setting("session_lifetime_s", 600, "600"),
    setting("oidc_issuer", "https://id.example.com", "https://id.example.com"),
    setting("oidc_client_id", "acclimate", "acclimate"),
    setting("oidc_scope", "openid groups", "openid groups"),
    setting("oidc_claim", "roles", "roles"),
    setting("oidc_admins", "platform", "platform"),
    setting("oidc_operators", "ops", "ops"),
    setting("oidc_viewers", "staff", "staff"),
    setting("oidc_fleet_claim", "fleet", "fleet"),
    setting("max_body_bytes", 20_000_000, "20000000"),
    setting("connections_per_address", 15, "15"),
    setting("device_rate", 0.5, "0.5"),
    setting("device_burst", 7, "7"),
    setting("report_bytes_rate", 13, "13"),
    setting("report_bytes_burst", 14, "14"),
    setting("operator_rate", 8, "8"),
    setting("operator_burst", 9, "9"),
    setting("anonymous_rate", 11, "11"),
    setting("anonymous_burst", 12, "12"),
    setting("retrain_command", "train {fleet}", "train {fleet}"),
    setting("retrain_drift_share", 0.5, "0.5"),
    setting("retrain_min_devices", 7, "7"),
    setting("retrain_window_s", 60, "60"),
    setting("retrain_cooldown_s", 600, "600"),
    setting("tick_s", 2.5, "2.5"),
    setting("log_format", "text", "text"),
    setting("log_level", "debug", "debug"),
    Case("rollout.extraEnv", PROXY, ROLLOUT, f"{ENV}>HTTPS_PROXY>value", "http://proxy"),
    Case("rollout.oidcClient.existingSecret", "sso", ROLLOUT, f"{ENV}>ACCLIMATE_OIDC_CLIENT_SECRET>valueFrom>secretKeyRef>name", "sso"),
    Case("rollout.oidcClient.key", "k", ROLLOUT, f"{ENV}>ACCLIMATE_OIDC_CLIENT_SECRET>valueFrom>secretKeyRef>key", "k", {"rollout": {"oidcClient": {"existingSecret": "sso"}}}),
    Case("rollout.adminToken.existingSecret", "admin", ROLLOUT, f"{ENV}>ACCLIMATE_ADMIN_TOKEN>valueFrom>secretKeyRef>name", "admin"),
    Case("rollout.adminToken.key", "t", ROLLOUT, f"{ENV}>ACCLIMATE_ADMIN_TOKEN>valueFrom>secretKeyRef>key", "t", {"rollout": {"adminToken": {"existingSecret": "admin"}}}),
    Case("rollout.signingKey.existingSecret", "mine", ROLLOUT, f"{POD}>volumes>keys>secret>secretName", "mine"),
    Case("rollout.signingKey.key", "k.pem", ROLLOUT, f"{POD}>volumes>keys>secret>items", [{"key": "k.pem", "path": "service-key.pem"}]),
    Case("rollout.tls.serverName", "fleet.example.com", "ServiceMonitor/acclimate-rollout", "spec>endpoints>0>tlsConfig>serverName", "fleet.example.com", merged(MONITORED, {"rollout": {"tls": {"secretName": "pod-tls"}}})),
    Case("rollout.tls.secretName", "pod-tls", ROLLOUT, f"{CONTAINER}>readinessProbe>httpGet>scheme", "HTTPS"),
    *resources("rollout.resources", ROLLOUT, CONTAINER, {}),
    Case("rollout.startupSeconds", 61, ROLLOUT, f"{CONTAINER}>startupProbe>failureThreshold", 31),
    Case("rollout.terminationGraceSeconds", 90, ROLLOUT, f"{POD}>terminationGracePeriodSeconds", 90),
    Case("rollout.autoscaling.enabled", True, "HorizontalPodAutoscaler/acclimate-rollout", "kind", "HorizontalPodAutoscaler"),
    Case("rollout.autoscaling.minReplicas", 4, "HorizontalPodAutoscaler/acclimate-rollout", "spec>minReplicas", 4, SCALED),
    Case("rollout.autoscaling.maxReplicas", 9, "HorizontalPodAutoscaler/acclimate-rollout", "spec>maxReplicas", 9, SCALED),
    Case("rollout.autoscaling.targetCPUPercent", 55, "HorizontalPodAutoscaler/acclimate-rollout", "spec>metrics>0>resource>target>averageUtilization", 55, SCALED),
    Case("rollout.podDisruptionBudget.enabled", False, "PodDisruptionBudget/acclimate-rollout", "", ABSENT),
    Case("rollout.podDisruptionBudget.maxUnavailable", "25%", "PodDisruptionBudget/acclimate-rollout", "spec>maxUnavailable", "25%"),
    Case("rollout.topologySpread.keys", ["rack"], ROLLOUT, f"{POD}>topologySpreadConstraints>0>topologyKey", "rack"),
    Case("rollout.topologySpread.whenUnsatisfiable", "DoNotSchedule", ROLLOUT, f"{POD}>topologySpreadConstraints>0>whenUnsatisfiable", "DoNotSchedule"),
    Case("rollout.nodeSelector", {"disk": "ssd"}, ROLLOUT, f"{POD}>nodeSelector", {"disk": "ssd"}),
    Case("rollout.tolerations", TOLERATIONS, ROLLOUT, f"{POD}>tolerations", TOLERATIONS),
    Case("rollout.affinity", {"nodeAffinity": {}}, ROLLOUT, f"{POD}>affinity", {"nodeAffinity": {}}),
    Case("rollout.priorityClassName", "high", ROLLOUT, f"{POD}>priorityClassName", "high"),
    Case("rollout.podAnnotations", {"a": "b"}, ROLLOUT, "spec>template>metadata>annotations", {"a": "b"}),
    Case("rollout.serviceAccount.create", False, "ServiceAccount/acclimate-rollout", "", ABSENT),
    Case("rollout.serviceAccount.name", "mine", ROLLOUT, f"{POD}>serviceAccountName", "mine"),
    Case("rollout.serviceAccount.annotations", {"role": "arn"}, "ServiceAccount/acclimate-rollout", "metadata>annotations", {"role": "arn"}),
    Case("rollout.service.type", "LoadBalancer", SERVICE, "spec>type", "LoadBalancer"),
    Case("rollout.service.port", 8443, SERVICE, "spec>ports>http>port", 8443),
    Case("rollout.service.annotations", {"a": "b"}, SERVICE, "metadata>annotations", {"a": "b"}),
    Case("rollout.migration.enabled", False, MIGRATION, "", ABSENT),
    Case("rollout.migration.deadlineSeconds", 60, MIGRATION, "spec>activeDeadlineSeconds", 60),
    Case("rollout.migration.retries", 9, MIGRATION, "spec>backoffLimit", 9),
    Case("database.host", "pg", ROLLOUT, f"{ENV}>ACCLIMATE_DATABASE_URL>value", "postgresql+psycopg://acclimate@pg:5432/acclimate?sslmode=require"),
    Case("database.port", 6432, ROLLOUT, f"{ENV}>ACCLIMATE_DATABASE_URL>value", "postgresql+psycopg://acclimate@db.example.com:6432/acclimate?sslmode=require"),
    Case("database.name", "fleet", ROLLOUT, f"{ENV}>ACCLIMATE_DATABASE_URL>value", "postgresql+psycopg://acclimate@db.example.com:5432/fleet?sslmode=require"),
    Case("database.user", "svc", ROLLOUT, f"{ENV}>ACCLIMATE_DATABASE_URL>value", "postgresql+psycopg://svc@db.example.com:5432/acclimate?sslmode=require"),
    Case("database.sslMode", "verify-full", ROLLOUT, f"{ENV}>ACCLIMATE_DATABASE_URL>value", "postgresql+psycopg://acclimate@db.example.com:5432/acclimate?sslmode=verify-full", CA),
    Case("database.existingSecret", "pg", ROLLOUT, f"{ENV}>PGPASSWORD>valueFrom>secretKeyRef>name", "pg"),
    Case("database.passwordKey", "pw", MIGRATION, f"{ENV}>PGPASSWORD>valueFrom>secretKeyRef>key", "pw"),
    Case("postgresql.enabled", True, POSTGRES, "spec>replicas", 1),
    Case("postgresql.image", "postgres:18", POSTGRES, f"{CONTAINER}>image", "postgres:18", TRIAL),
    Case("postgresql.storage.size", "3Gi", POSTGRES, "spec>volumeClaimTemplates>0>spec>resources>requests>storage", "3Gi", TRIAL),
    Case("postgresql.storage.className", "ssd", POSTGRES, "spec>volumeClaimTemplates>0>spec>storageClassName", "ssd", TRIAL),
    *resources("postgresql.resources", POSTGRES, CONTAINER, TRIAL),
    Case("backup.enabled", True, BACKUPS, f"{BACKUP_POD}>containers>backup>args>0", "backup"),
    Case("backup.schedule", "@daily", BACKUPS, "spec>schedule", "@daily", BACKUP),
    Case("backup.keep", 3, BACKUPS, f"{BACKUP_POD}>containers>backup>args>-1", "3", BACKUP),
    Case("backup.image", "postgres:18", BACKUPS, f"{BACKUP_POD}>initContainers>mlflow>image", "postgres:18", BACKUP),
    Case("backup.volume.existingClaim", "mine", BACKUP_CLAIM, "", ABSENT, BACKUP),
    Case("backup.volume.size", "3Gi", BACKUP_CLAIM, "spec>resources>requests>storage", "3Gi", BACKUP),
    Case("backup.volume.className", "nfs", BACKUP_CLAIM, "spec>storageClassName", "nfs", BACKUP),
    Case("backup.deadlineSeconds", 99, BACKUPS, "spec>jobTemplate>spec>activeDeadlineSeconds", 99, BACKUP),
    Case("repository.volume.existingClaim", "mine", ROLLOUT, f"{POD}>volumes>repository>persistentVolumeClaim>claimName", "mine"),
    Case("repository.volume.size", "3Gi", "PersistentVolumeClaim/acclimate-repository", "spec>resources>requests>storage", "3Gi"),
    Case("repository.volume.className", "nfs", "PersistentVolumeClaim/acclimate-repository", "spec>storageClassName", "nfs"),
    Case("repository.volume.accessMode", "ReadWriteOnce", "PersistentVolumeClaim/acclimate-repository", "spec>accessModes", ["ReadWriteOnce"]),
    Case("repository.artifactsUrl", "s3://b/x", ROLLOUT, f"{ENV}>ACCLIMATE_ARTIFACTS_URL>value", "s3://b/x"),
    Case("repository.refresh.enabled", False, REFRESH, "", ABSENT),
    Case("repository.refresh.schedule", "@hourly", REFRESH, "spec>schedule", "@hourly"),
    Case("repository.refresh.existingSecret", "ts", REFRESH, f"{REFRESH_JOB}>template>spec>volumes>keys>secret>secretName", "ts"),
    Case("repository.refresh.key", "t", REFRESH, f"{REFRESH_JOB}>template>spec>volumes>keys>secret>items>0>key", "t"),
    Case("repository.refresh.deadlineSeconds", 99, REFRESH, f"{REFRESH_JOB}>activeDeadlineSeconds", 99),
    Case("objectStore.endpoint", "http://minio:9000", ROLLOUT, f"{ENV}>AWS_ENDPOINT_URL>value", "http://minio:9000"),
    Case("objectStore.region", "eu", ROLLOUT, f"{ENV}>AWS_DEFAULT_REGION>value", "eu"),
    Case("objectStore.existingSecret", "s3", MLFLOW, f"{ENV}>AWS_SECRET_ACCESS_KEY>valueFrom>secretKeyRef>name", "s3"),
    Case("objectStore.accessKeyIdKey", "id", ROLLOUT, f"{ENV}>AWS_ACCESS_KEY_ID>valueFrom>secretKeyRef>key", "id", STORE),
    Case("objectStore.secretAccessKeyKey", "sk", ROLLOUT, f"{ENV}>AWS_SECRET_ACCESS_KEY>valueFrom>secretKeyRef>key", "sk", STORE),
    Case("mlflow.enabled", False, MLFLOW, "", ABSENT),
    Case("mlflow.url", "https://ml.example.com", ROLLOUT, f"{ENV}>ACCLIMATE_REGISTRY_URI>value", "https://ml.example.com", EXTERNAL_MLFLOW),
    Case("mlflow.image.name", "m", MLFLOW, f"{CONTAINER}>image", "m:0.1.0"),
    Case("mlflow.image.tag", "9", MLFLOW, f"{CONTAINER}>image", "acclimate-trainer:9"),
    Case("mlflow.image.digest", DIGEST, MLFLOW, f"{CONTAINER}>image", f"acclimate-trainer@{DIGEST}"),
    Case("mlflow.workers", 7, MLFLOW, f"{CONTAINER}>args>2", "--workers=7"),
    Case("mlflow.allowedHosts", ["ml.example.com"], MLFLOW, f"{CONTAINER}>args>4", "--allowed-hosts=acclimate-mlflow.fleet.svc:5000,acclimate-mlflow:5000,localhost:*,127.0.0.1:*,ml.example.com"),
    Case("mlflow.auth.existingSecret", "login", ROLLOUT, f"{ENV}>MLFLOW_TRACKING_PASSWORD>valueFrom>secretKeyRef", {"name": "login", "key": "password"}),
    Case("mlflow.auth.clients", [{"namespaceSelector": {}}], "NetworkPolicy/acclimate-mlflow", "spec>ingress>0>from>-1", {"namespaceSelector": {}}, LOGIN),
    Case("mlflow.database.name", "m", MLFLOW, f"{ENV}>MLFLOW_BACKEND_STORE_URI>value", "postgresql+psycopg://mlflow@db.example.com:5432/m?sslmode=require"),
    Case("mlflow.database.user", "u", MLFLOW, f"{ENV}>MLFLOW_BACKEND_STORE_URI>value", "postgresql+psycopg://u@db.example.com:5432/mlflow?sslmode=require"),
    Case("mlflow.database.existingSecret", "mdb", MLFLOW, f"{ENV}>PGPASSWORD>valueFrom>secretKeyRef>name", "mdb"),
    Case("mlflow.database.passwordKey", "pw", MLFLOW, f"{ENV}>PGPASSWORD>valueFrom>secretKeyRef>key", "pw", {"mlflow": {"database": {"existingSecret": "mdb"}}}),
    Case("mlflow.artifacts.url", "s3://b/m", MLFLOW, f"{CONTAINER}>args>3", "--artifacts-destination=s3://b/m"),
    Case("mlflow.artifacts.size", "3Gi", "PersistentVolumeClaim/acclimate-mlflow", "spec>resources>requests>storage", "3Gi"),
    Case("mlflow.artifacts.className", "ssd", "PersistentVolumeClaim/acclimate-mlflow", "spec>storageClassName", "ssd"),
    *resources("mlflow.resources", MLFLOW, CONTAINER, {}),
    Case("mlflow.nodeSelector", {"disk": "ssd"}, MLFLOW, f"{POD}>nodeSelector", {"disk": "ssd"}),
    Case("mlflow.tolerations", TOLERATIONS, MLFLOW, f"{POD}>tolerations", TOLERATIONS),
    Case("ray.enabled", True, RAY, "kind", "RayCluster"),
    Case("ray.image.name", "r", RAY, f"{RAY_HEAD}>containers>0>image", "r:0.1.0", WITH_RAY),
    Case("ray.image.tag", "9", RAY, f"{RAY_HEAD}>containers>0>image", "acclimate-trainer:9", WITH_RAY),
    Case("ray.image.digest", DIGEST, RAY, f"{RAY_HEAD}>containers>0>image", f"acclimate-trainer@{DIGEST}", WITH_RAY),
    Case("ray.version", "2.61.0", RAY, "spec>rayVersion", "2.61.0", WITH_RAY),
    Case("ray.tokenSecret", "tok", RAY, "spec>authOptions", {"mode": "token", "secretName": "tok"}, WITH_RAY),
    Case("ray.autoscaling.enabled", False, RAY, "spec>enableInTreeAutoscaling", False, WITH_RAY),
    Case("ray.autoscaling.idleSeconds", 9, RAY, "spec>autoscalerOptions>idleTimeoutSeconds", 9, WITH_RAY),
    *resources("ray.head.resources", RAY, f"{RAY_HEAD}>containers>0", WITH_RAY),
    Case("ray.workers", [{"name": "gpu", "replicas": 2, "minReplicas": 1, "maxReplicas": 3, "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": 1}}}], RAY, "spec>workerGroupSpecs>0>template>spec>containers>0>resources>limits>nvidia.com/gpu", 1, WITH_RAY),
    Case("ray.extraEnv", PROXY, RAY, f"{RAY_HEAD}>containers>0>env>HTTPS_PROXY>value", "http://proxy", WITH_RAY),
    Case("ray.extraVolumes", VOLUMES, RAY, f"{RAY_WORKER}>volumes>data>persistentVolumeClaim>claimName", "recordings", WITH_RAY),
    Case("ray.extraVolumeMounts", MOUNTS, RAY, f"{RAY_WORKER}>containers>0>volumeMounts>data>mountPath", "/data", merged(WITH_RAY, {"ray": {"extraVolumes": VOLUMES}})),
    Case("ray.home.existingClaim", "runs", RAY, f"{RAY_WORKER}>volumes>home>persistentVolumeClaim>claimName", "runs", WITH_RAY),
    Case("ray.home.sizeLimit", "3Gi", RAY, f"{RAY_HEAD}>volumes>home>emptyDir>sizeLimit", "3Gi", WITH_RAY),
    Case("ray.poolCache.gigabytes", 40, RAY, f"{RAY_WORKER}>volumes>pools>emptyDir>sizeLimit", "51Gi", WITH_RAY),
    Case("ray.poolCache.className", "fast", RAY, f"{RAY_WORKER}>volumes>pools>ephemeral>volumeClaimTemplate>spec>storageClassName", "fast", WITH_RAY),
    Case("ray.faultTolerance.redisAddress", "redis:6379", RAY, "spec>gcsFaultToleranceOptions>redisAddress", "redis:6379", WITH_RAY),
    Case("ray.faultTolerance.existingSecret", "redis", RAY, "spec>gcsFaultToleranceOptions>redisPassword>valueFrom>secretKeyRef>name", "redis", WITH_REDIS),
    Case("ray.faultTolerance.passwordKey", "pw", RAY, "spec>gcsFaultToleranceOptions>redisPassword>valueFrom>secretKeyRef>key", "pw", merged(WITH_REDIS, {"ray": {"faultTolerance": {"existingSecret": "redis"}}})),
    Case("ray.head.nodeSelector", {"spot": "no"}, RAY, f"{RAY_HEAD}>nodeSelector", {"spot": "no"}, WITH_RAY),
    Case("ray.head.tolerations", TOLERATIONS, RAY, f"{RAY_HEAD}>tolerations", TOLERATIONS, WITH_RAY),
    Case("ray.submitter.enabled", True, "Role/acclimate-submitter", "rules>0>resources", ["rayjobs"]),
    Case("pipelines.enabled", True, PIPELINE_CLAIM, "kind", "PersistentVolumeClaim"),
    Case("pipelines.volume.existingClaim", "mine", PIPELINE_CLAIM, "", ABSENT, PIPELINES),
    Case("pipelines.volume.size", "3Gi", PIPELINE_CLAIM, "spec>resources>requests>storage", "3Gi", PIPELINES),
    Case("pipelines.volume.className", "nfs", PIPELINE_CLAIM, "spec>storageClassName", "nfs", PIPELINES),
    Case("pipelines.volume.accessMode", "ReadWriteOnce", PIPELINE_CLAIM, "spec>accessModes", ["ReadWriteOnce"], PIPELINES),
    Case("expose.type", "ingress", "Ingress/acclimate-rollout", "kind", "Ingress", EXPOSED),
    Case("expose.trustedProxies", ["10.1.0.0/16", "fd00::1"], ROLLOUT, f"{ENV}>ACCLIMATE_TRUSTED_PROXIES>value", "10.1.0.0/16,fd00::1", INGRESS),
    Case("expose.host", "x.example.com", ROLLOUT, f"{ENV}>ACCLIMATE_PUBLIC_URL>value", "https://x.example.com", INGRESS),
    Case("expose.tls.secretName", "crt", "Ingress/acclimate-rollout", "spec>tls>0>secretName", "crt", INGRESS),
    Case("expose.ingress.className", "nginx", "Ingress/acclimate-rollout", "spec>ingressClassName", "nginx", INGRESS),
    Case("expose.ingress.annotations", {"a": "b"}, "Ingress/acclimate-rollout", "metadata>annotations", {"a": "b"}, INGRESS),
    Case("expose.gateway.className", "envoy", "Gateway/acclimate-rollout", "spec>gatewayClassName", "envoy", GATEWAY),
    Case("expose.gateway.parentRefs", [{"name": "shared", "namespace": "infra"}], "HTTPRoute/acclimate-rollout", "spec>parentRefs>-1", {"name": "shared", "namespace": "infra"}, GATEWAY),
    Case("expose.gateway.annotations", {"a": "b"}, "Gateway/acclimate-rollout", "metadata>annotations", {"a": "b"}, GATEWAY),
    Case("networkPolicy.enabled", False, POLICY, "", ABSENT),
    Case("networkPolicy.clients", [{"ipBlock": {"cidr": "10.0.0.0/8"}}], POLICY, "spec>ingress>0>from>0", {"ipBlock": {"cidr": "10.0.0.0/8"}}),
    Case("networkPolicy.extraEgress", [{"ports": [{"port": 3128}]}], POLICY, "spec>egress>-1", {"ports": [{"port": 3128}]}),
    Case("monitoring.serviceMonitor.enabled", True, "ServiceMonitor/acclimate-rollout", "kind", "ServiceMonitor"),
    Case("monitoring.serviceMonitor.interval", "10s", "ServiceMonitor/acclimate-rollout", "spec>endpoints>0>interval", "10s", MONITORED),
    Case("monitoring.serviceMonitor.labels", {"release": "prom"}, "ServiceMonitor/acclimate-rollout", "metadata>labels>release", "prom", MONITORED),
    Case("monitoring.prometheusRule.enabled", True, "PrometheusRule/acclimate", "kind", "PrometheusRule"),
    Case("monitoring.prometheusRule.labels", {"release": "prom"}, "PrometheusRule/acclimate", "metadata>labels>release", "prom", MONITORED),
    Case("monitoring.dashboard.enabled", True, "ConfigMap/acclimate-dashboards", "kind", "ConfigMap"),
    Case("monitoring.dashboard.labels", {"dash": "yes"}, "ConfigMap/acclimate-dashboards", "metadata>labels>dash", "yes", MONITORED),
    Case("tests.enabled", False, "Pod/acclimate-test", "", ABSENT),
]  # fmt: skip

VALUES_TEXT = (CHART / "values.yaml").read_text()
DEFAULTS = dict(leaves(yaml.safe_load(VALUES_TEXT)))


def test_every_key_has_an_assertion_and_no_assertion_is_for_a_key_that_is_gone():
    assert {case.key for case in CASES} == set(DEFAULTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_value_has_its_effect(case, render):
    base = merged(MINIMAL, case.beside)
    changed = merged(base, nested(case.key, case.value))
    assert at(render(changed), case.place, case.path) == case.expected
    assert at(render(base), case.place, case.path) != case.expected, "the case would pass without the value"


def test_the_charts_readme_is_fresh():
    assert (CHART / "README.md").read_text() == chart_readme(), "run: make chart-readme"


def test_the_list_of_images_is_what_the_chart_runs(render):
    listed = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]["artifacthub.io/images"]
    used = {container["image"] for _, container in containers(render(merged(TRIAL, WITH_RAY, PIPELINES)))}
    assert {one["image"] for one in yaml.safe_load(listed)} == used


def commented_keys(text: str) -> dict[str, bool]:
    """Each dotted key of a YAML text, and whether a comment stands right above it."""
    found: dict[str, bool] = {}
    stack: list[tuple[int, str]] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        name, colon, _ = line.strip().partition(":")
        if not colon or not line.strip() or line.lstrip().startswith(("#", "-")) or " " in name:
            continue
        indent = len(line) - len(line.lstrip())
        stack = [(depth, key) for depth, key in stack if depth < indent] + [(indent, name)]
        found[".".join(key for _, key in stack)] = lines[number - 1].lstrip().startswith("# ")
    return found


def test_every_value_is_explained_by_a_comment_above_it():
    inside_lists = tuple(key for key, value in DEFAULTS.items() if isinstance(value, list) and value)
    bare = [
        key for key, commented in commented_keys(VALUES_TEXT).items()
        if not commented and not key.startswith(inside_lists)
    ]  # fmt: skip
    assert bare == []
    assert set(DEFAULTS) <= set(commented_keys(VALUES_TEXT))
