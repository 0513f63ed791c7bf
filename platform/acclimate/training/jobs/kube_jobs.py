"""Jobs on Kubernetes, as KubeRay RayJobs. Works with kubernetes clients 30 to 37."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from acclimate.errors import TrainingError
from acclimate.nearest import did_you_mean
from acclimate.training.jobs.job import Job, JobState, Order, UnreachableError
from acclimate.training.jobs.rayjob import GROUP, MANAGED_BY, PLURAL, RECIPE_LABEL, VERSION, Pods, rayjob

_WAIT_S = (
    10,
    60,
)  # to connect, and for the next byte: a log may be quiet, a lost connection is quiet for ever
_ENDED_BY = {"Complete": JobState.SUCCEEDED, "Failed": JobState.FAILED, "ValidationFailed": JobState.FAILED}


class KubeJobs:
    """See `Jobs`.

    Args:
        pods: what new jobs are made of; None where none is submitted.
        namespace: where; None takes the context's.
        context: of the kubeconfig; None takes its current one, or the pod's own account inside a cluster.

    Raises:
        TrainingError: there is no usable kubeconfig.
    """

    def __init__(self, pods: Pods | None, namespace: str | None = None, context: str | None = None) -> None:
        self._pods = pods
        connection, own = _connect(context)
        self._namespace = namespace or own
        self._objects = client.CustomObjectsApi(connection)
        self._core = client.CoreV1Api(connection)

    def submit(self, order: Order) -> Job:
        assert self._pods is not None, "a job is made of pods"
        manifest = rayjob(order, self._pods)
        with self._speaking():
            made = self._objects.create_namespaced_custom_object(
                *self._place(), manifest, _request_timeout=_WAIT_S
            )
        return _job(made)

    def all(self) -> list[Job]:
        labels = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
        with self._speaking():
            found = self._objects.list_namespaced_custom_object(
                *self._place(), label_selector=labels, _request_timeout=_WAIT_S
            )
        newest = sorted(found["items"], key=lambda each: each["metadata"]["creationTimestamp"], reverse=True)
        return [_job(each) for each in newest]

    def get(self, name: str) -> Job:
        return _job(self._get(name))

    def log(self, name: str) -> str:
        self._get(name)
        with self._speaking(name):
            pod = self._submitter(name)
            if pod is None:
                return ""
            return self._core.read_namespaced_pod_log(pod, self._namespace, _request_timeout=_WAIT_S)

    def tail(self, name: str) -> Iterator[str]:
        with self._speaking(name):
            pod = self._submitter(name)
            if pod is None:  # it starts once the cluster is up, and goes with the job
                return
            try:
                lines = watch.Watch().stream(
                    self._core.read_namespaced_pod_log, pod, self._namespace, _request_timeout=_WAIT_S
                )
                for line in lines:
                    yield f"{line}\n"
            except urllib3.exceptions.ReadTimeoutError:  # quiet: see whether it still runs
                return

    def stop(self, name: str) -> None:
        job = self._get(name)
        if _job(job).state.ended:
            return
        with self._speaking(name):
            if "clusterSelector" in job["spec"]:
                # KubeRay suspends no job on a standing cluster; deleted, it is stopped there.
                self._objects.delete_namespaced_custom_object(*self._place(), name, _request_timeout=_WAIT_S)
            else:
                self._objects.patch_namespaced_custom_object(
                    *self._place(), name, {"spec": {"suspend": True}}, _request_timeout=_WAIT_S
                )

    def _get(self, name: str) -> Any:
        with self._speaking(name):
            return self._objects.get_namespaced_custom_object(*self._place(), name, _request_timeout=_WAIT_S)

    def _submitter(self, name: str) -> str | None:
        """The newest pod of the Kubernetes Job that KubeRay submits with, if its log can be read."""
        found = self._core.list_namespaced_pod(
            self._namespace, label_selector=f"job-name={name}", _request_timeout=_WAIT_S
        ).items
        begun = [pod for pod in found if pod.status.phase in ("Running", "Succeeded", "Failed")]
        newest = sorted(begun, key=lambda pod: pod.metadata.creation_timestamp)[-1:]
        return newest[0].metadata.name if newest else None

    def _place(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self._namespace, PLURAL

    @contextmanager
    def _speaking(self, name: str = "") -> Iterator[None]:
        """Turns what the client raises into what a user can mend."""
        where = f"namespace {self._namespace!r}"
        try:
            yield
        except (urllib3.exceptions.HTTPError, ConnectionError) as error:
            raise UnreachableError(f"the Kubernetes API does not answer: {error}") from error
        except ApiException as error:
            said = _message(error)
            if error.status is None or error.status == 429 or error.status >= 500:
                raise UnreachableError(f"the Kubernetes API answers {error.status}: {said}") from error
            if error.status == 404 and name and name in said:
                raise TrainingError(
                    f"no job {name!r} is in {where}: `acclimate jobs list --kubernetes` shows them"
                ) from error
            if error.status == 404:
                raise TrainingError(
                    "the cluster knows no RayJob: install the KubeRay operator, 1.5.1 or newer"
                ) from error
            if error.status in (401, 403):
                raise TrainingError(
                    f"Kubernetes refuses in {where}: {said}; the chart's ray.submitter.enabled makes an "
                    "account with the rights this needs"
                ) from error
            raise TrainingError(f"Kubernetes refuses the job in {where}: {said}") from error


def _connect(context: str | None) -> tuple[Any, str]:
    """An API client and its namespace: the kubeconfig's, or inside a pod its service account's."""
    file = os.environ.get("KUBECONFIG")  # the client reads it on import, once
    try:
        contexts, active = config.list_kube_config_contexts(file)
    except config.ConfigException as error:
        if context is None and (inside := _connect_inside()):
            return inside
        raise TrainingError(
            f"no Kubernetes cluster is configured ({error}): set KUBECONFIG to a kubeconfig file"
        ) from error
    chosen = next((each for each in contexts if each["name"] == context), None) if context else active
    if chosen is None:
        known = [each["name"] for each in contexts]
        hint = did_you_mean(str(context), known, f"it has {', '.join(known)}")
        raise TrainingError(f"the kubeconfig has no context {context!r}: {hint}")
    try:
        connection = config.new_client_from_config(file, chosen["name"])
    except config.ConfigException as error:
        raise TrainingError(f"context {chosen['name']!r} of the kubeconfig is unusable: {error}") from error
    return connection, chosen["context"].get("namespace") or "default"


def _connect_inside() -> tuple[Any, str] | None:
    """With a pod's own account, if this process runs in one that has any."""
    try:
        config.load_incluster_config()
    except config.ConfigException:
        return None
    namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return client.ApiClient(), namespace.read_text("utf-8")


def _job(found: Any) -> Job:
    status = found.get("status") or {}
    state = _state(found["spec"], status)
    said = status.get("message") or status.get("reason") or ""
    if not said and state is JobState.PENDING:
        said = status.get("jobDeploymentStatus") or "waiting for KubeRay"
    return Job(
        name=found["metadata"]["name"],
        recipe=(found["metadata"].get("annotations") or {}).get(RECIPE_LABEL, ""),
        state=state,
        detail=said,
        started=_moment(status.get("startTime")),
        ended=_moment(status.get("endTime")),
    )


def _state(spec: Any, status: Any) -> JobState:
    if spec.get("suspend"):
        return JobState.STOPPED
    ray = status.get("jobStatus")
    if ray in ("SUCCEEDED", "FAILED", "STOPPED"):
        return JobState(ray.lower())
    deployment = status.get("jobDeploymentStatus")
    if deployment in _ENDED_BY:
        return _ENDED_BY[deployment]
    return JobState.RUNNING if ray == "RUNNING" else JobState.PENDING


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
