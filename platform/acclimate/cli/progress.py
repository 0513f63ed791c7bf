"""How a training job looks while it runs: loss, tasks a second and time left, on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from acclimate.cli.output import err, note
from acclimate.logged_job import LoggedJob
from acclimate.settings import LogSettings

if TYPE_CHECKING:
    from acclimate.training.loop import StepReport
    from acclimate.training.problem import Problem

# Plain lines where nobody watches a bar, this many for each phase.
_LINES_A_PHASE = 10
# Seconds between two looks of a bar: rich's speed costs a third of a millisecond, a small network's step two.
_REDRAW = 0.1


@contextmanager
def job_listener(name: str) -> Iterator[JobProgress | LoggedJob]:
    """Who tells of a job: bars and lines for people, or lines of JSON with ACCLIMATE_LOG_FORMAT=json."""
    if LogSettings.from_environment().log_format == "json":
        yield LoggedJob(name)
        return
    with JobProgress() as progress:
        yield progress


class JobProgress:
    """A `workflow.Listener` that draws bars on a terminal and prints a line now and then elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        self._bar = TaskID(0)
        self._phase = ""
        self._steps = 0
        self._meta_batch = 0
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_data(self, problem: Problem, directory: Path) -> None:
        split, parameters = problem.split, sum(each.numel() for each in problem.model.parameters())
        note(
            f"{problem.recipe.name}: {len(split.train)} tasks to train on, {len(split.test)} held out; "
            f"{problem.spec.name} with {parameters:,} parameters; checkpoints in {directory}"
        )

    def on_phase(self, phase: str, done: int, steps: int, meta_batch: int) -> None:
        kind, _, seed = phase.partition("-")
        self._phase = f"{'meta-training' if kind == 'meta' else 'joint baseline'}, seed {seed}"
        self._steps, self._meta_batch = steps, meta_batch
        self._bar = self._progress.add_task(self._phase, total=steps, completed=done, figures="")

    def on_step(self, report: StepReport) -> None:
        self._progress.update(self._bar, completed=report.step)
        if not self._due(report.step):
            return
        figures = "  ".join(f"{name} {value:.4f}" for name, value in report.figures.items())
        speed = self._progress.tasks[-1].speed
        if speed:
            figures += f"  {speed * self._meta_batch:.0f} tasks/s"
        self._progress.update(self._bar, figures=figures)
        if not err.is_terminal:
            note(f"{self._phase}: step {report.step} of {self._steps}  {figures}")

    def _due(self, step: int) -> bool:
        if not err.is_terminal:
            return step % max(1, self._steps // _LINES_A_PHASE) == 0
        now = time.monotonic()
        if now - self._shown < _REDRAW and step < self._steps:
            return False
        self._shown = now
        return True

    def on_evaluation(self, what: str, done: int, total: int) -> None:
        if done == 0:
            self._bar = self._progress.add_task("evaluation", total=total, figures="")
        self._progress.update(self._bar, completed=done, figures=what)
        if not err.is_terminal and done < total:
            note(f"evaluation: {what}")

    def on_warning(self, message: str) -> None:
        note(f"warning: {message}", "yellow")
