"""Where a run keeps its checkpoints: `runs/<recipe>/<start time>/` in the home directory.

Holds `recipe.yaml`, a `<phase>.pt` for each phase, `mlflow_run` with the id of its MLflow run, the
evaluation's files, and `finished` once the version is registered.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from acclimate.errors import TrainingError
from acclimate.files import write_whole
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import to_yaml


@dataclass(frozen=True)
class RunDirectory:
    """One run's files."""

    path: Path

    @staticmethod
    def begin(home: Path, recipe: Recipe, now: datetime) -> RunDirectory:
        """A new directory, named after the time; nothing of an earlier run is touched."""
        runs = home / "runs" / recipe.name
        name = now.strftime("%Y-%m-%dT%H-%M-%S")
        for suffix in ("", *(f".{number}" for number in range(2, 1000))):
            try:
                (runs / f"{name}{suffix}").mkdir(parents=True)
            except FileExistsError:
                continue
            directory = RunDirectory(runs / f"{name}{suffix}")
            write_whole(directory.path / "recipe.yaml", to_yaml(recipe))
            return directory
        raise TrainingError(f"{runs} has a thousand runs that began at {name}: set ACCLIMATE_HOME elsewhere")

    @staticmethod
    def newest_unfinished(home: Path, recipe: Recipe) -> RunDirectory | None:
        """The run to resume, if there is one."""
        runs = home / "runs" / recipe.name
        found = sorted(path for path in runs.glob("*/recipe.yaml") if not path.with_name("finished").exists())
        return RunDirectory(found[-1].parent) if found else None

    @staticmethod
    def to_resume(home: Path, recipe: Recipe) -> RunDirectory:
        """The run to resume.

        Raises:
            TrainingError: every run of this recipe is finished, or none was started.
        """
        directory = RunDirectory.newest_unfinished(home, recipe)
        if directory is None:
            raise TrainingError(
                f"no unfinished run of {recipe.name!r} is under {home / 'runs'}: start one without --resume"
            )
        return directory

    @property
    def name(self) -> str:
        return self.path.name

    def checkpoint(self, phase: str) -> Path:
        """The checkpoint file of a phase."""
        return self.path / f"{phase}.pt"

    @property
    def mlflow_run_id(self) -> str | None:
        """The MLflow run this run writes to, once it has one."""
        file = self.path / "mlflow_run"
        return file.read_text("utf-8").strip() if file.exists() else None

    def set_mlflow_run_id(self, run_id: str) -> None:
        write_whole(self.path / "mlflow_run", run_id)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else trains here meanwhile; the lock goes with this process, however it ends.

        Raises:
            TrainingError: somebody does.
        """
        with (self.path / ".lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                raise TrainingError(
                    f"{self.path} is being trained by {holder}: wait for it or stop it, then --resume"
                ) from error
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            yield

    def finish(self) -> None:
        """Mark as done: there is nothing left to resume."""
        (self.path / "finished").touch()
