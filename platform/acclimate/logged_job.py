"""A training job as log lines, where a collector reads and nobody watches: pods, jobs, pipelines."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acclimate.training.loop import StepReport
    from acclimate.training.problem import Problem

log = logging.getLogger(__name__)
_EVERY_S = 10.0


class LoggedJob:
    """A `workflow.Listener` that logs the start and end of each phase and, in between, a line every 10 s."""

    def __init__(self, recipe: str) -> None:
        self._recipe = recipe
        self._phase, self._steps, self._meta_batch = "", 0, 0
        self._at_step, self._at_s = 0, 0.0

    def on_data(self, problem: Problem, directory: Path) -> None:
        self._log(
            "data-opened",
            training_tasks=len(problem.split.train),
            held_out_tasks=len(problem.split.test),
            model=problem.spec.name,
            parameters=sum(each.numel() for each in problem.model.parameters()),
            directory=str(directory),
        )

    def on_phase(self, phase: str, done: int, steps: int, meta_batch: int) -> None:
        self._phase, self._steps, self._meta_batch = phase, steps, meta_batch
        self._at_step, self._at_s = done, time.monotonic()
        self._log("phase-started", phase=phase, step=done, steps=steps)

    def on_step(self, report: StepReport) -> None:
        waited = time.monotonic() - self._at_s
        if report.step < self._steps and waited < _EVERY_S:
            return
        tasks = (report.step - self._at_step) * self._meta_batch
        self._log(
            "trained",
            phase=self._phase,
            step=report.step,
            steps=self._steps,
            tasks_per_s=round(tasks / max(waited, 1e-9), 1),
            **{name: float(value) for name, value in report.figures.items()},
        )
        self._at_step, self._at_s = report.step, time.monotonic()

    def on_evaluation(self, what: str, done: int, total: int) -> None:
        self._log("evaluating", what=what, done=done, total=total)

    def on_warning(self, message: str) -> None:
        log.warning("warning", extra={"recipe": self._recipe, "detail": message})

    def _log(self, event: str, **about: Any) -> None:
        log.info(event, extra={"recipe": self._recipe, **about})
