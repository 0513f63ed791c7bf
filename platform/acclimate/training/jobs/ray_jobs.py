"""Jobs on a Ray cluster, through its Jobs API."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from acclimate.addresses import parts_of, without_password
from acclimate.errors import TrainingError
from acclimate.training.jobs.job import Job, JobState, Order, UnreachableError

logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it tells every reconnection

_RECIPE, _ADDRESS = "acclimate_recipe", "RAY_API_SERVER_ADDRESS"
# Nothing tells a quiet log from a connection that died without a word: look again after this long.
_QUIET_S = 30.0
# The head answers before the agents of its nodes do.
_STARTING, _STARTING_S, _AGAIN_S = "No available agent", 60.0, 1.0


class RayJobs:
    """See `Jobs`.

    Args:
        address: of the Jobs API, such as `http://127.0.0.1:8265`.
        runtime_env: Ray's runtime environment of submitted jobs, such as `{"working_dir": "."}` to take the
            modules along that the recipe names.

    Raises:
        TrainingError: the token is missing or wrong, or it is no Jobs API.
        UnreachableError: nothing answers there.
    """

    def __init__(self, address: str, runtime_env: Mapping[str, Any] | None = None) -> None:
        address = jobs_api(address)
        self._address = without_password(address)
        self._runtime_env = dict(runtime_env or {})
        token = ray_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self._speaking(), _named(address):
            try:
                self._client = JobSubmissionClient(address, headers=headers)
            except (TypeError, LookupError, ValueError) as error:  # JSON, but not the Jobs API's
                raise ConnectionError(f"what answers there is something else ({error})") from error

    def submit(self, order: Order) -> Job:
        until = time.monotonic() + _STARTING_S
        while True:
            try:
                with self._speaking():
                    environment = {**self._runtime_env.get("env_vars", {}), **order.variables}
                    self._client.submit_job(
                        entrypoint=order.entrypoint,
                        submission_id=order.name,
                        runtime_env={**self._runtime_env, "env_vars": environment},
                        metadata={_RECIPE: order.recipe.name},
                    )
                break
            except UnreachableError as error:
                if _STARTING not in str(error) or time.monotonic() >= until:
                    raise
            time.sleep(_AGAIN_S)
        return Job(order.name, order.recipe.name, JobState.PENDING)

    def all(self) -> list[Job]:
        with self._speaking():
            found = self._client.list_jobs()
        jobs = [_job(each) for each in found if _RECIPE in (each.metadata or {})]
        return sorted(jobs, key=lambda job: job.started or datetime.max.replace(tzinfo=UTC), reverse=True)

    def get(self, name: str) -> Job:
        with self._speaking(name):
            return _job(self._client.get_job_info(name))

    def log(self, name: str) -> str:
        with self._speaking(name):
            return self._client.get_job_logs(name)

    def tail(self, name: str) -> Iterator[str]:
        pieces = self._client.tail_job_logs(name)
        with asyncio.Runner() as runner:
            try:
                while True:
                    with self._speaking(name):
                        try:
                            piece = runner.run(asyncio.wait_for(anext(pieces), _QUIET_S))
                        except (StopAsyncIteration, TimeoutError):
                            return
                    yield piece
            finally:
                runner.run(pieces.aclose())

    def stop(self, name: str) -> None:
        with self._speaking(name):
            self._client.stop_job(name)

    @contextmanager
    def _speaking(self, name: str = "") -> Iterator[None]:
        """Turns what the client raises into what a user can mend."""
        try:
            yield
        except AuthenticationError as error:
            raise TrainingError(
                f"the Ray cluster at {self._address} refuses the token: set RAY_AUTH_TOKEN, or "
                "RAY_AUTH_TOKEN_PATH to a file with it (`ray get-auth-token` prints it on the head)"
            ) from error
        except (ConnectionError, requests.RequestException, aiohttp.ClientError) as error:
            raise UnreachableError(
                f"no Ray Jobs API answers at {self._address}: it is the dashboard's address of the head, "
                "usually http://HEAD:8265; `ray start --head` starts one on this machine"
            ) from error
        except RuntimeError as error:
            said = str(error)
            if "status code 404" in said:
                raise TrainingError(
                    f"no job {name!r} is on the cluster at {self._address}: `acclimate jobs list` shows them"
                ) from error
            if "status code 5" in said or "WebSocket" in said:  # while the head restarts, or its log moves
                raise UnreachableError(f"{self._address}: {said}") from error
            raise TrainingError(f"the Ray cluster at {self._address} refuses: {said}") from error
        except (TypeError, ValueError) as error:
            raise TrainingError(f"Ray refuses the runtime environment: {error}") from error


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Ray prefers its environment variables to the argument; what was asked for by name wins here."""
    before = os.environ.get(_ADDRESS)
    os.environ[_ADDRESS] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ADDRESS]
        else:
            os.environ[_ADDRESS] = before


def jobs_api(address: str) -> str:
    """The address with its scheme, and the dashboard's port where only a host is named.

    Raises:
        TrainingError: it is none of a Jobs API.
    """
    given = address.strip()
    whole = given if "://" in given else f"http://{given}"
    where = parts_of(whole, "--address", TrainingError)
    if not where.hostname or where.scheme not in ("http", "https"):
        raise TrainingError(
            f"{without_password(given)!r} is no address of a Jobs API: write that of the head's dashboard, "
            "usually http://HEAD:8265"
        )
    return whole if where.port or whole is given else f"{whole.rstrip('/')}:8265"


def ray_token() -> str | None:
    """The cluster's token, where Ray itself looks for it."""
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        if path:
            raise TrainingError(f"RAY_AUTH_TOKEN_PATH is {path!r}, which cannot be read ({error})") from error
        return None


def _job(details: Any) -> Job:
    state = JobState(details.status.value.lower())
    return Job(
        name=details.submission_id,
        recipe=(details.metadata or {}).get(_RECIPE, ""),
        state=state,
        detail=_detail(state, details.message or ""),
        started=_moment(details.start_time),
        ended=_moment(details.end_time),
    )


def _detail(state: JobState, message: str) -> str:
    """Ray's message where it tells more than the state: its first line; the log's end follows it."""
    if state in (JobState.RUNNING, JobState.SUCCEEDED) or not message.strip():
        return ""
    return message.strip().splitlines()[0]


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
