"""A training job as log lines, where a collector reads and nobody watches: pods, jobs, pipelines."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

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
        log.info(
            "event=data-opened recipe=%s training_tasks=%d held_out_tasks=%d model=%s parameters=%d "
            "directory=%r",
            self._recipe,
            len(problem.split.train),
            len(problem.split.test),
            problem.spec.name,
            sum(each.numel() for each in problem.model.parameters()),
            str(directory),
        )

    def on_phase(self, phase: str, done: int, steps: int, meta_batch: int) -> None:
        self._phase, self._steps, self._meta_batch = phase, steps, meta_batch
        self._at_step, self._at_s = done, time.monotonic()
        log.info("event=phase-started recipe=%s phase=%s step=%d steps=%d", self._recipe, phase, done, steps)

    def on_step(self, report: StepReport) -> None:
        waited = time.monotonic() - self._at_s
        if report.step < self._steps and waited < _EVERY_S:
            return
        tasks = (report.step - self._at_step) * self._meta_batch
        figures = " ".join(f"{name}={value:.6g}" for name, value in report.figures.items())
        log.info(
            "event=trained recipe=%s phase=%s step=%d steps=%d tasks_per_s=%.1f %s",
            self._recipe,
            self._phase,
            report.step,
            self._steps,
            tasks / max(waited, 1e-9),
            figures,
        )
        self._at_step, self._at_s = report.step, time.monotonic()

    def on_evaluation(self, what: str, done: int, total: int) -> None:
        log.info("event=evaluating recipe=%s what=%r done=%d total=%d", self._recipe, what, done, total)

    def on_warning(self, message: str) -> None:
        log.warning("event=warning recipe=%s detail=%r", self._recipe, message)
