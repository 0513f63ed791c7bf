"""Training runs as MLflow shows them: parameters, curves, files and how they ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acclimate.registry.client import translated
from acclimate.registry.keys import as_keys
from acclimate.registry.location import StoreLocation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RunEnd = Literal["FINISHED", "FAILED", "KILLED"]
_METRICS_A_BATCH = 1000  # MLflow's limits on one log_batch call
_PARAMS_A_BATCH = 100
_LONGEST_PARAM = 6000
_LONGEST_NAME = 500
_LONGEST_DIGEST = 36


@dataclass(frozen=True)
class RunInfo:
    """One run.

    Attributes:
        run_id: MLflow's id.
        name: the run's name.
        experiment: the experiment it belongs to.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: UTC.
        duration_s: seconds, None while it runs.
        metrics: last value by name.
        tags: as set; MLflow's own are left out.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started: datetime
    duration_s: float | None
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @staticmethod
    def of(run: Run, experiment: str) -> RunInfo:
        """Read MLflow's record."""
        info = run.info
        ended = None if info.end_time is None else (info.end_time - info.start_time) / 1000
        return RunInfo(
            run_id=info.run_id,
            name=info.run_name,
            experiment=experiment,
            status=info.status,
            started=datetime.fromtimestamp(info.start_time / 1000, UTC),
            duration_s=ended,
            metrics=dict(run.data.metrics),
            tags={key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")},
        )


@dataclass(frozen=True)
class RunRecorder:
    """Writes to one run; made by `Registry.start_run` and `Registry.continue_run`."""

    client: MlflowClient
    location: StoreLocation
    run_id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record parameters, `a.b` for nested ones; the same value may be logged again."""
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in as_keys(params).items()]
        with translated(self.location):
            for start in range(0, len(entries), _PARAMS_A_BATCH):
                self.client.log_batch(self.run_id, params=entries[start : start + _PARAMS_A_BATCH])

    def log_metrics(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Record `(step, {name: value})` rows as curves."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(key, value, now, step) for step, row in rows for key, value in as_keys(row).items()]
        with translated(self.location):
            for start in range(0, len(entries), _METRICS_A_BATCH):
                self.client.log_batch(self.run_id, metrics=entries[start : start + _METRICS_A_BATCH])

    def log_input(self, name: str, content_hash: str, source: str, tasks: int) -> None:
        """Record the data of the run, as MLflow lists inputs.

        Args:
            name: of the data set.
            content_hash: SHA-256 in hexadecimal digits; MLflow keeps 36 of them.
            source: where it was read from.
            tasks: how many the run trains on.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            name=name[:_LONGEST_NAME],
            digest=content_hash[:_LONGEST_DIGEST],
            source_type="acclimate",
            source=json.dumps({"uri": source}),
            profile=json.dumps({"training_tasks": tasks}),
        )
        with translated(self.location):
            training = InputTag("mlflow.data.context", "training")
            self.client.log_inputs(self.run_id, [DatasetInput(data, [training])])

    def log_file(self, path: Path) -> None:
        """Keep a file with the run."""
        with translated(self.location):
            self.client.log_artifact(self.run_id, str(path))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Write tags onto the run."""
        with translated(self.location):
            for key, value in tags.items():
                self.client.set_tag(self.run_id, key, value)

    def log_text(self, text: str, name: str) -> None:
        """Keep a text as the file `name`."""
        with translated(self.location):
            self.client.log_text(self.run_id, text, name)

    def end(self, status: RunEnd) -> None:
        """Close the run."""
        with translated(self.location):
            self.client.set_terminated(self.run_id, status)
