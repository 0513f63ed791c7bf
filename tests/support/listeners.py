"""Listeners of a training job."""

from __future__ import annotations

from pathlib import Path

from acclimate.training.loop import StepReport
from acclimate.training.problem import Problem


class Quiet:
    """Counts steps and says nothing."""

    def __init__(self) -> None:
        self.steps = 0

    def on_data(self, problem: Problem, directory: Path) -> None: ...

    def on_phase(self, phase: str, done: int, steps: int, meta_batch: int) -> None: ...

    def on_step(self, report: StepReport) -> None:
        self.steps += 1

    def on_evaluation(self, what: str, done: int, total: int) -> None: ...

    def on_warning(self, message: str) -> None: ...
