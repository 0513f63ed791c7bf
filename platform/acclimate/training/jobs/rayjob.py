"""The KubeRay RayJob of an order: a Ray cluster for this one job, which goes when the job has ended.

Its pods hold to the `restricted` pod security standard, as the chart's do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acclimate.training.jobs.job import Order

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
RECIPE_LABEL = "acclimate/recipe"
MANAGED_BY = {"app.kubernetes.io/managed-by": "acclimate"}
_HOME = "/var/lib/acclimate"
_POOLS = "/var/cache/acclimate"
_USER = 65532  # as in the trainer's image

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pods:
    """What the job's pods are made of.

    Attributes:
        image: with acclimate[train]; the same for head, workers and submitter.
        ray_version: inside that image; KubeRay refuses tokens without it.
        cpus: cores of a worker pod, a task worker each.
        memory: of a pod, as Kubernetes writes it.
        gpus: `nvidia.com/gpu` of a worker pod.
        node_selector: labels of the nodes for workers.
        tolerations: taints of those nodes, by key, that workers tolerate.
        secret_variables: variable -> (secret, key): secrets stay references.
        secrets: secrets whose every key becomes a variable.
        pull_secrets: secrets to pull the image with.
        claim: a PersistentVolumeClaim that keeps checkpoints beyond the job, for `--resume`.
        pool_cache_gb: what a worker pod keeps on its node's disk of task pools in an object store.
        openshift: name no users: each namespace has some of its own there, and others are refused.
        service_account: of all pods.
        ray_cluster: a standing RayCluster to run on; its pods are then as they are.
        keep_s: seconds until the ended job's pods go, and its log with them.
    """

    image: str
    ray_version: str
    cpus: int = 2
    memory: str = "4Gi"
    gpus: int = 0
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[str, ...] = ()
    secret_variables: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    claim: str | None = None
    pool_cache_gb: int = 10
    openshift: bool = False
    service_account: str | None = None
    ray_cluster: str | None = None
    keep_s: int = 3600


def rayjob(order: Order, pods: Pods) -> Manifest:
    """The RayJob, for `kubectl apply` or the API."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "RayJob",
        "metadata": {
            "name": order.name,
            "labels": {**_labels(order)},
            # Labels allow fewer characters than recipes' names have.
            "annotations": {RECIPE_LABEL: order.recipe.name},
        },
        "spec": {
            "entrypoint": order.entrypoint,
            "runtimeEnvYAML": json.dumps({"env_vars": order.variables}),  # JSON is YAML
            "submissionMode": "K8sJobMode",
            # A second attempt would train from the start; `acclimate submit --resume` goes on.
            "backoffLimit": 0,
            **_cluster(order, pods),
            "submitterPodTemplate": _submitter(order, pods),
        },
    }


def _cluster(order: Order, pods: Pods) -> Manifest:
    if pods.ray_cluster:
        return {"clusterSelector": {"ray.io/cluster": pods.ray_cluster}}
    return {
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": pods.keep_s,
        "rayClusterSpec": {
            "rayVersion": pods.ray_version,
            "authOptions": {"mode": "token"},
            "headGroupSpec": {
                # No task runs on the head: one that takes all memory there would take the cluster with it.
                "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
                "template": _pod(order, pods, "ray-head", _resources("1", pods.memory), pods.claim),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    **dict.fromkeys(("replicas", "minReplicas", "maxReplicas"), _worker_pods(order, pods)),
                    "rayStartParams": {},
                    "template": _worker(order, pods),
                }
            ],
        },
    }


def _worker_pods(order: Order, pods: Pods) -> int:
    training = order.recipe.training
    at_once = min(pods.cpus, pods.gpus) if training.gpu else pods.cpus
    return max(1, math.ceil(training.workers / max(1, at_once)))


def _worker(order: Order, pods: Pods) -> Manifest:
    resources = _resources(str(pods.cpus), pods.memory)
    if pods.gpus:
        resources["limits"]["nvidia.com/gpu"] = str(pods.gpus)
    template = _pod(order, pods, "ray-worker", resources, None)
    if pods.node_selector:
        template["spec"]["nodeSelector"] = dict(pods.node_selector)
    tolerated = (*pods.tolerations, *(["nvidia.com/gpu"] if pods.gpus else []))
    if tolerated:
        template["spec"]["tolerations"] = [{"key": key, "operator": "Exists"} for key in tolerated]
    return template


def _submitter(order: Order, pods: Pods) -> Manifest:
    return _pod(order, pods, "ray-job-submitter", _resources("500m", "1Gi"), None, restart="Never")


def _pod(
    order: Order,
    pods: Pods,
    container: str,
    resources: Manifest,
    claim: str | None,
    restart: str | None = None,
) -> Manifest:
    home = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            **({} if pods.openshift else dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), _USER)),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": container,
                "image": pods.image,
                "env": _variables(pods),
                "resources": resources,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "home", "mountPath": _HOME},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "pools", "mountPath": _POOLS},
                    {"name": "shm", "mountPath": "/dev/shm"},
                ],
            }
        ],
        "volumes": [
            {"name": "home", **home},
            # Ray's session: logs and spilled objects.
            {"name": "tmp", "emptyDir": {}},
            # Blocks of task pools in an object store, and room for those that are being written.
            {"name": "pools", "emptyDir": {"sizeLimit": f"{pods.pool_cache_gb * 5 // 4 + 1}Gi"}},
            # Ray's object store; its pages count as the pod's memory.
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if pods.secrets:
        spec["containers"][0]["envFrom"] = [{"secretRef": {"name": name}} for name in pods.secrets]
    if pods.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pods.pull_secrets]
    if pods.service_account:
        spec["serviceAccountName"] = pods.service_account
    if restart:
        spec["restartPolicy"] = restart
    return {"metadata": {"labels": _labels(order)}, "spec": spec}


def _variables(pods: Pods) -> list[Manifest]:
    plain = {
        "HOME": "/tmp",
        "ACCLIMATE_HOME": _HOME,
        "ACCLIMATE_POOL_CACHE": _POOLS,
        "ACCLIMATE_POOL_CACHE_GB": str(pods.pool_cache_gb),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return [{"name": name, "value": value} for name, value in plain.items()] + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in pods.secret_variables.items()
    ]


def _resources(cpus: str, memory: str) -> Manifest:
    amount = {"cpu": cpus, "memory": memory}
    return {"requests": dict(amount), "limits": dict(amount)}


def _labels(order: Order) -> dict[str, str]:
    return {
        **MANAGED_BY,
        "acclimate/registry-client": "true",  # the chart's network policy lets these reach MLflow
        "app.kubernetes.io/name": "acclimate",
        "app.kubernetes.io/component": "training",
        "app.kubernetes.io/instance": order.name,
    }
