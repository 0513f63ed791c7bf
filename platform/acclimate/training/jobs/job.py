"""What is submitted and what becomes of it, whichever cluster runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from acclimate.errors import TrainingError
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import to_yaml

RECIPE_VARIABLE = "ACCLIMATE_RECIPE"
_NAME_LENGTH = 47  # KubeRay's limit: it derives the names of other resources from a RayJob's


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED)


@dataclass(frozen=True)
class Job:
    """A submitted job.

    Attributes:
        recipe: the recipe's name.
        detail: what the cluster says of its state, such as why it waits or failed.
        started, ended: None until then.
    """

    name: str
    recipe: str
    state: JobState
    detail: str = ""
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class Order:
    """A recipe to train, as a cluster receives it.

    Attributes:
        environment: variables of the job, such as `MLFLOW_TRACKING_URI`; nothing secret, the cluster shows
            them to everyone who may list jobs.
        resume: go on with the newest unfinished run that the cluster's `ACCLIMATE_HOME` holds.
    """

    name: str
    recipe: Recipe
    environment: Mapping[str, str] = field(default_factory=dict)
    resume: bool = False

    @property
    def entrypoint(self) -> str:
        """The command that runs on the cluster, of words that no shell on its way there reads otherwise."""
        resume = " --resume" if self.resume else ""
        return f"python -m acclimate train env:{RECIPE_VARIABLE} --address auto{resume}"

    @property
    def variables(self) -> dict[str, str]:
        """The job's environment, the recipe in it."""
        return {**self.environment, "PYTHONUNBUFFERED": "1", RECIPE_VARIABLE: to_yaml(self.recipe)}


class UnreachableError(TrainingError):
    """The cluster does not answer now; it may later."""


class Jobs(Protocol):
    """A place that runs jobs. Every call raises `UnreachableError` if it does not answer."""

    def submit(self, order: Order) -> Job:
        """Raises `TrainingError` if the cluster refuses it."""

    def all(self) -> list[Job]:
        """The jobs that were submitted by `acclimate`, newest first."""

    def get(self, name: str) -> Job:
        """Raises `TrainingError` if there is no such job."""

    def log(self, name: str) -> str:
        """The log up to now."""

    def tail(self, name: str) -> Iterator[str]:
        """The log from its beginning, in pieces as they come; may end or fail before the job does."""

    def stop(self, name: str) -> None:
        """Ask it to stop; a job that has ended stays as it is."""


def job_name(recipe: Recipe, now: datetime, suffix: str) -> str:
    """A name that says what and when, and fits Kubernetes: `watch-20260131-235959-ab12`."""
    ending = f"-{now:%Y%m%d-%H%M%S}-{suffix}"
    stem = re.sub(r"[^a-z0-9]+", "-", recipe.name.lower())[: _NAME_LENGTH - len(ending)].strip("-")
    if not stem[:1].isalpha():
        stem = f"job-{stem}"[: _NAME_LENGTH - len(ending)]
    return f"{stem}{ending}"
