"""What the tests give to the cluster: values, Secrets and a training job; checked without one, too."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate import __version__

RELEASE = "acclimate"
BUDGET = "rollout.podDisruptionBudget.enabled=true"
POD_LABELS = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=rollout"
REGISTRY = os.environ.get("ACCLIMATE_IMAGE_REGISTRY", "")
TAG = os.environ.get("ACCLIMATE_IMAGE_TAG", "")
# A training of seconds, on two workers.
SMALL = ("training.steps=20", "baseline.joint=false", "evaluation.draws=1", "evaluation.tasks=20")


def namespace(name: str) -> dict[str, Any]:
    """One under the strictest of Kubernetes' own policies: a pod that asks for more is not let in."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def values(*more: str) -> list[str]:
    """Values over those of the trial profile, as `helm --set` takes them."""
    tags = [f"{part}.image.tag={TAG}" for part in ("rollout", "mlflow", "ray")] if TAG else []
    login = "mlflow.auth.existingSecret=acclimate-mlflow-auth"
    if os.environ.get("ACCLIMATE_MAY_DRAIN") == "1":
        more = ("repository.volume.accessMode=ReadWriteMany", *more)  # or no pod could move to another node
    return [f"images.registry={REGISTRY}", login, *tags, *more]


def secret_objects(admin_token: str) -> list[dict[str, Any]]:
    """Every Secret that the chart refers to."""
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    random = secrets.token_urlsafe
    login = {"username": "acclimate", "password": random(24), "flask-secret-key": random(32)}
    return [
        _secret("acclimate-service-key", {"service-key.pem": key.decode()}),
        _secret("acclimate-database", {"password": random(24)}),
        _secret("acclimate-admin", {"admin-token": admin_token}),
        _secret("acclimate-mlflow-auth", login),
    ]


def stranger(name: str, host: str, port: int) -> dict[str, Any]:
    """A pod that is none of the release's and says whether it reaches `host`; restricted like all others."""
    program = (
        "import socket\n"
        f"try: socket.create_connection(({host!r}, {port}), 10); print('reached')\n"
        "except OSError as error: print('kept out:', error)\n"
    )
    return _pod(name, program)


def caller(name: str, url: str) -> dict[str, Any]:
    """A pod that asks for `url` twice a second for as long as it lives, and says where it got no answer."""
    program = (
        "import time, urllib.request as r\n"
        "print('it answers', flush=True)\n"
        "while True:\n"
        f"    try: r.urlopen({url!r}, timeout=5).close()\n"
        "    except OSError as error: print('no answer:', error, flush=True)\n"
        "    time.sleep(0.5)\n"
    )
    return _pod(name, program)


def _pod(name: str, program: str) -> dict[str, Any]:
    container = {
        "name": "program",
        "image": f"{REGISTRY}{'/' if REGISTRY else ''}acclimate-rollout:{TAG or __version__}",
        "command": ["python", "-c", program],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def submission(namespace: str) -> list[str]:
    """`acclimate submit` of a RayJob that registers a version in the chart's MLflow."""
    login = {"MLFLOW_TRACKING_USERNAME": "username", "MLFLOW_TRACKING_PASSWORD": "password"}
    arguments = ["submit", "sinusoid", "--kubernetes", "--namespace", namespace, "--workers", "2"]
    arguments += ["--image", f"{REGISTRY}{'/' if REGISTRY else ''}acclimate-trainer:{TAG or __version__}"]
    arguments += ["--tracking-uri", f"http://{RELEASE}-mlflow.{namespace}.svc:5000", "--memory", "2Gi"]
    for name, key in login.items():
        arguments += ["--secret-env", f"{name}=acclimate-mlflow-auth:{key}"]
    for change in SMALL:
        arguments += ["--set", change]
    return arguments


def _secret(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}
