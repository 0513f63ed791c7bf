"""Who hears how a job goes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from acclimate.training.loop import StepReport
from acclimate.training.problem import Problem


class Listener(Protocol):
    """Hears how a job goes; the CLI draws it."""

    def on_data(self, problem: Problem, directory: Path) -> None:
        """Data is open; checkpoints and results will be in `directory`."""

    def on_phase(self, phase: str, done: int, steps: int, meta_batch: int) -> None:
        """A training phase begins, or goes on, after `done` of its steps."""

    def on_step(self, report: StepReport) -> None:
        """One outer step of the current phase is done."""

    def on_evaluation(self, what: str, done: int, total: int) -> None:
        """Evaluation goes on."""

    def on_warning(self, message: str) -> None:
        """Something is wrong that does not end the job."""
