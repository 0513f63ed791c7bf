"""Runs and schedules of the pipeline on a cluster, through Kubeflow's own client."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from acclimate.errors import TrainingError
from acclimate_pipelines.retraining import Cluster, write

SUCCEEDED = "SUCCEEDED"
_TIMEOUT_S = 10.0
ENDED = (SUCCEEDED, "FAILED", "CANCELED", "SKIPPED")


@dataclass(frozen=True)
class Run:
    """A run or a schedule of the pipeline.

    Attributes:
        id: Kubeflow's.
        name: as it is shown.
        state: of a run PENDING, RUNNING, SUCCEEDED, FAILED ...; of a schedule ENABLED or DISABLED.
        error: what Kubeflow says went wrong.
        url: its page.
    """

    id: str
    name: str
    state: str
    error: str
    url: str


class Kubeflow:
    """One Kubeflow Pipelines server.

    Args:
        host: its address; empty uses KF_PIPELINES_ENDPOINT, the service account inside a cluster, or the
            current Kubernetes context.
        token: bearer token, where it asks for one.
        namespace: of the user's profile, in multi-user mode.

    Raises:
        TrainingError: nothing answers there.
    """

    def __init__(self, host: str, token: str, namespace: str) -> None:
        self._where = host or "the Kubeflow of the current Kubernetes context"
        self._namespace = namespace or None
        self._host = host.rstrip("/")
        _reach(self._host, token)
        with self._translated():
            import kfp

            self._client: Any = kfp.Client(
                host=host or None, existing_token=token or None, namespace=namespace or "kubeflow"
            )

    def start(
        self, name: str, experiment: str, parameters: Mapping[str, Any], cluster: Cluster, account: str
    ) -> Run:
        """Start a run."""
        with self._compiled(cluster) as package:
            made = self._client.run_pipeline(
                experiment_id=self._experiment(experiment),
                job_name=name,
                pipeline_package_path=str(package),
                params=dict(parameters),
                service_account=account or None,
            )
        return self._run(made)

    def run(self, run_id: str) -> Run:
        """A run as it is now."""
        with self._translated():
            return self._run(self._client.get_run(run_id))

    def runs(self, experiment: str, limit: int) -> list[Run]:
        """The newest runs of an experiment."""
        with self._translated():
            found = self._client.list_runs(
                experiment_id=self._experiment(experiment), page_size=limit, sort_by="created_at desc"
            )
        return [self._run(one) for one in found.runs or []]

    def stop(self, run_id: str) -> None:
        """End a run; a rollout that it started goes on."""
        with self._translated():
            self._client.terminate_run(run_id)

    def schedule(
        self,
        name: str,
        experiment: str,
        cron: str,
        parameters: Mapping[str, Any],
        cluster: Cluster,
        account: str,
    ) -> Run:
        """Run it on a schedule, one run at a time; an earlier schedule of that name is replaced.

        Nothing is taken from Kubeflow's cache, so that every run looks at the data anew, and missed times
        are not made up for.
        """
        with self._compiled(cluster) as package:
            experiment_id = self._experiment(experiment)
            earlier = [one for one in self._schedules(experiment_id) if one.display_name == name]
            made = self._client.create_recurring_run(
                experiment_id=experiment_id,
                job_name=name,
                cron_expression=cron,
                max_concurrency=1,
                no_catchup=True,
                params=dict(parameters),
                pipeline_package_path=str(package),
                enable_caching=False,
                service_account=account or None,
            )
            for one in earlier:  # only after its successor is there
                self._client.delete_recurring_run(one.recurring_run_id)
        return self._scheduled(made)

    def schedules(self, experiment: str) -> list[Run]:
        """Every schedule of an experiment."""
        with self._translated():
            return [self._scheduled(one) for one in self._schedules(self._experiment(experiment))]

    def unschedule(self, schedule_id: str) -> None:
        """End a schedule."""
        with self._translated():
            self._client.delete_recurring_run(schedule_id)

    def _experiment(self, name: str) -> str:
        return str(self._client.create_experiment(name, namespace=self._namespace).experiment_id)

    def _schedules(self, experiment_id: str) -> list[Any]:
        found: list[Any] = []
        token = ""
        while True:
            page = self._client.list_recurring_runs(
                experiment_id=experiment_id, page_size=100, page_token=token
            )
            found += page.recurring_runs or []
            token = page.next_page_token or ""
            if not token:
                return found

    @contextmanager
    def _compiled(self, cluster: Cluster) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder, self._translated():
            package = Path(folder) / "retraining.yaml"
            write(package, cluster)
            yield package

    def _run(self, made: Any) -> Run:
        error = made.error.message if made.error else ""
        page = self._page("runs", made.run_id)
        return Run(made.run_id, made.display_name, made.state or "PENDING", error or "", page)

    def _scheduled(self, made: Any) -> Run:
        page = self._page("recurringrun", made.recurring_run_id)
        return Run(made.recurring_run_id, made.display_name, made.status or "ENABLED", "", page)

    def _page(self, kind: str, identity: str) -> str:
        return f"{self._host}/#/{kind}/details/{identity}" if self._host else ""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What Kubeflow's client raises as one line; what it prints for notebooks is left out."""
        import kfp_server_api
        from urllib3.exceptions import HTTPError

        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            try:
                yield
            except kfp_server_api.ApiException as error:
                raise TrainingError(f"Kubeflow at {self._where} refused: {_detail(error)}") from error
            except (HTTPError, OSError) as error:
                raise TrainingError(_unreachable(self._where, error)) from error


def _reach(host: str, token: str) -> None:
    """Ask whether anyone is there: Kubeflow's client tries for half a minute, with stack traces."""
    if not host:
        from kubernetes import config

        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints where it looks
                config.load_config()
        except (config.ConfigException, OSError) as error:
            raise TrainingError(_unreachable("the current Kubernetes context", error)) from error
        return
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(f"{host}/apis/v2beta1/healthz", headers=headers, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TrainingError(_unreachable(host, error)) from error
    if answer.status_code in (301, 302, 303, 307, 308, 401, 403):
        raise TrainingError(
            f"Kubeflow at {host} asks who you are ({answer.status_code}): set ACCLIMATE_KFP_TOKEN to a token "
            "it takes, for example of `kubectl create token`"
        )
    if not answer.is_success:
        raise TrainingError(f"{host} answers {answer.status_code}: is it the API of Kubeflow Pipelines 2?")


def _unreachable(where: str, error: Exception) -> str:
    return (
        f"Kubeflow at {where} cannot be reached ({error}): give --host http://... of its API, for example "
        "after `kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80`, or add --local to run on this "
        "machine"
    )


def wait(kubeflow: Kubeflow, run_id: str, tell: Callable[[Run], None], pause: Callable[[], None]) -> Run:
    """Follow a run to its end; `tell` hears every change of its state.

    A server that is away for a while is waited for.

    Raises:
        TrainingError: the run ended without success.
    """
    last = kubeflow.run(run_id)
    tell(last)
    while last.state not in ENDED:
        pause()
        try:
            now = kubeflow.run(run_id)
        except TrainingError:
            continue
        if now.state != last.state:
            tell(now)
        last = now
    if last.state != SUCCEEDED:
        why = last.error or "its steps say why"
        raise TrainingError(f"run {run_id} ended {last.state.lower()}: {why} {last.url}")
    return last


def _detail(error: Any) -> str:
    try:
        told = json.loads(error.body)
        return f"{error.status} {told.get('message') or told.get('error') or error.reason}"
    except (TypeError, ValueError, AttributeError):
        return f"{error.status} {error.reason}"
