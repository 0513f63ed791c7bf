"""Train every phase of a job; each leaves a checkpoint, so that an interrupted job goes on where it was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from acclimate.errors import RegistryError
from acclimate.files import write_whole
from acclimate.learners import MetaParams
from acclimate.registry import RunRecorder
from acclimate.traces import traced
from acclimate.training.checkpoint import check_same_recipe, load_checkpoint, save_checkpoint
from acclimate.training.engine import engine, pinned
from acclimate.training.loop import OuterState, StepReport
from acclimate.training.problem import Problem
from acclimate.training.recipe import Recipe
from acclimate.training.run_directory import RunDirectory
from acclimate.training.shard import deterministic
from acclimate.workflow.listener import Listener
from acclimate.workflow.phases import as_long_as_pays, meta_phase, phases

_POINTS = 1_000  # of a curve at most, or so: more cost MLflow seconds and nobody sees them


@traced("train-phases")
def train_phases(
    problem: Problem,
    start: MetaParams | None,
    directory: RunDirectory,
    recorder: RunRecorder,
    listener: Listener,
    should_stop: Callable[[], bool],
    address: str | None,
) -> dict[str, MetaParams] | None:
    """Train every phase that is not done yet; None if stopped.

    Args:
        start: meta-parameters that meta-training goes on from; baselines always begin anew.

    Returns:
        By phase, the meta-parameters that did best on the validation tasks, or the last where there are none.
    """
    planned = phases(problem)
    best_steps = _best_steps(directory, planned)
    if len(best_steps) < len(planned):
        problems = _pinned(directory, {phase: problem.again(of) for phase, of in planned.items()})
        with engine(problems, address) as train_phase:
            for phase in list(planned)[len(best_steps) :]:
                of = as_long_as_pays(planned[phase], phase, best_steps)
                pinned_of = as_long_as_pays(problems[phase].recipe, phase, best_steps)
                problems[phase] = problems[phase].again(pinned_of)
                state = _open_state(directory, phase, problem.again(of), start)
                listener.on_phase(phase, state.step, of.training.last_step, of.training.meta_batch)
                curves = _Curves(phase, recorder, listener, math.ceil(of.training.last_step / _POINTS))
                done = train_phase(
                    phase,
                    state,
                    on_step=curves.add,
                    on_checkpoint=partial(_keep, of, directory.checkpoint(phase), curves),
                    should_stop=should_stop,
                )
                if not done:
                    return None
                best_steps[phase] = _best_step(state)
    return {phase: load_checkpoint(directory.checkpoint(phase)).result for phase in planned}


def _keep(recipe: Recipe, path: Path, curves: _Curves, state: OuterState) -> None:
    save_checkpoint(state.checkpoint(recipe), path)
    curves.flush()


def _best_steps(directory: RunDirectory, planned: Mapping[str, Recipe]) -> dict[str, int]:
    """Of the first phases, which are done: after how many steps each did best on the validation tasks."""
    found: dict[str, int] = {}
    for phase, recipe in planned.items():
        of = as_long_as_pays(recipe, phase, found)
        if not _is_done(directory, phase, of):
            break
        state = OuterState.restore(load_checkpoint(directory.checkpoint(phase)), of.training.optimizer)
        found[phase] = _best_step(state)
    return found


def _best_step(state: OuterState) -> int:
    return state.step if state.best is None else state.best.step


def _is_done(directory: RunDirectory, phase: str, recipe: Recipe) -> bool:
    path = directory.checkpoint(phase)
    if not path.exists():
        return False
    checkpoint = load_checkpoint(path)
    check_same_recipe(checkpoint, recipe)
    return OuterState.restore(checkpoint, recipe.training.optimizer).is_done(recipe.training)


def _open_state(
    directory: RunDirectory, phase: str, problem: Problem, start: MetaParams | None
) -> OuterState:
    path, recipe = directory.checkpoint(phase), problem.recipe
    optimizer = recipe.training.optimizer
    if path.exists():
        return OuterState.restore(load_checkpoint(path), optimizer)
    if start is None or phase != meta_phase(recipe.seed):
        start = _fresh_start(directory, phase, problem)
    state = OuterState.begin(start, optimizer)
    save_checkpoint(state.checkpoint(recipe), path)
    return state


def _fresh_start(directory: RunDirectory, phase: str, problem: Problem) -> MetaParams:
    """New parameters, or for closed-form heads the joint model's where one was trained and may be used."""
    joint = directory.checkpoint(phase.replace("meta-", "joint-", 1))
    if not problem.recipe.closed_form or problem.recipe.federated or not joint.exists():
        return problem.start()
    with deterministic():
        return problem.warm_start(load_checkpoint(joint).result)


def _pinned(directory: RunDirectory, problems: Mapping[str, Problem]) -> dict[str, Problem]:
    """The problems, each with the engine that this run began with: bits must not depend on who resumes it."""
    path = directory.path / "engines.json"
    known: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    settled = {phase: pinned(problem, known.get(phase)) for phase, problem in problems.items()}
    engines = {phase: problem.recipe.learner.compile for phase, problem in settled.items()}
    if engines != known:
        write_whole(path, json.dumps(engines, indent=2) + "\n")
    return settled


@dataclass
class _Curves:
    """Training figures on their way to MLflow, sent at checkpoints so that a resumed run repeats none.

    Attributes:
        every: steps between two points of a curve; what the validation tasks said is a point always.
    """

    phase: str
    recorder: RunRecorder
    listener: Listener
    every: int

    def __post_init__(self) -> None:
        self._rows: list[tuple[int, dict[str, float]]] = []

    def add(self, report: StepReport) -> None:
        figures = {**report.figures, "gradient_norm": report.gradient_norm}
        named = {f"{self.phase}.{key}": value for key, value in figures.items() if math.isfinite(value)}
        if report.step % self.every == 0 or "validation_loss" in report.figures:
            self._rows.append((report.step, named))
        self.listener.on_step(report)

    def flush(self) -> None:
        try:
            self.recorder.log_metrics(self._rows)
        except RegistryError as error:  # hours of training are worth more than its curve: try again next time
            self.listener.on_warning(f"the curve is kept until the next checkpoint: {error}")
            return
        self._rows.clear()
