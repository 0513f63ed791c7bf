"""The main job: open data, meta-train, evaluate on held-out tasks, register; for the CLI and pipelines.

Every phase leaves a checkpoint in the run's directory, so an interrupted job goes on where it was.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import acclimate
from acclimate import evaluation as ev
from acclimate.errors import DataError, RecipeError, RegistryError
from acclimate.evaluation.plot import save_plot
from acclimate.home import home
from acclimate.initialization import Initialization
from acclimate.learners import MetaParams
from acclimate.registry import Registry, RunRecorder, VersionInfo
from acclimate.tasks import Sampler, TaskPool, report_on
from acclimate.traces import traced
from acclimate.training.checkpoint import check_same_recipe, load_checkpoint, save_checkpoint
from acclimate.training.engine import engine
from acclimate.training.loop import OuterState, StepReport
from acclimate.training.problem import Problem, data_fingerprint, joint_recipe, open_problem
from acclimate.training.recipe import Recipe, flat
from acclimate.training.recipe_file import load_recipe, to_yaml
from acclimate.training.run_directory import RunDirectory
from acclimate.training.shard import deterministic

DATA_REPORT = "data_report.json"


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


@dataclass(frozen=True)
class Outcome:
    """A finished job."""

    initialization: Initialization
    version: VersionInfo
    evaluation: ev.Evaluation
    plot: Path
    directory: Path


@traced("meta-train")
def meta_train(
    recipe: Recipe,
    *,
    listener: Listener,
    should_stop: Callable[[], bool] = lambda: False,
    resume: bool = False,
    tracking_uri: str | None = None,
    address: str | None = None,
    lineage: Mapping[str, str] | None = None,
) -> Outcome | None:
    """Run a recipe from its data to a registered version.

    Args:
        listener: hears the progress.
        should_stop: asked between steps; once true, a checkpoint is written and the job ends early.
        resume: go on with the newest unfinished run of this recipe.
        tracking_uri: of MLflow, see `acclimate.registry.locate`.
        address: of a running Ray cluster; None starts Ray on this machine.
        lineage: further tags of the version, such as what called for it.

    Returns:
        The outcome, or None if it was stopped.

    Raises:
        AcclimateError: anything a user can mend; what was trained until then is in a checkpoint.
    """
    directory = None
    if resume:
        directory = RunDirectory.to_resume(home(), recipe)
        recipe = _started_as(recipe, directory)
    registry = Registry.open(tracking_uri)
    recipe, known = starting_version(recipe, registry)
    problem = open_problem(recipe)
    data_report = check_data(problem, listener)
    start = None if known is None else problem.start_from(known)
    directory = directory or RunDirectory.begin(home(), recipe, datetime.now())
    listener.on_data(problem, directory.path)
    with mlflow_run(registry, recipe, directory, problem) as recorder:
        recorder.log_text(data_report, DATA_REPORT)
        metas = train_phases(recipe, start, directory, recorder, listener, should_stop, address)
        if metas is None:
            return None
        evaluation = evaluate_starts(recipe, metas, listener)
        initialization = problem.initialization(metas[_meta_phase(recipe.seed)])
        plot = directory.path / "adaptation.png"
        save_plot(evaluation, recipe.name, plot)
        (directory.path / "evaluation.json").write_text(json.dumps(evaluation.as_json(), indent=2) + "\n")
        for file in (plot, directory.path / "evaluation.json", *map(directory.checkpoint, phases(recipe))):
            recorder.log_file(file)
        recorder.log_metrics([(recipe.training.last_step, evaluation.figures())])
        version = registry.register(
            recipe.name,
            initialization,
            experiment=recipe.name,
            run_id=recorder.run_id,
            evaluation=evaluation.as_json(),
            files={"recipe.yaml": to_yaml(recipe), DATA_REPORT: data_report},
            lineage={**(lineage or {}), **lineage_of(recipe, problem)},
            metrics=evaluation.figures(),
        )
        directory.finish()
    return Outcome(initialization, version, evaluation, plot, directory.path)


def starting_version(recipe: Recipe, registry: Registry) -> tuple[Recipe, Initialization | None]:
    """The version that `training.start` names, and the recipe with its number in place of an alias.

    Raises:
        RegistryError: there is no such version.
    """
    if recipe.training.start is None:
        return recipe, None
    initialization, version = registry.fetch(recipe.name, str(recipe.training.start))
    pinned = recipe.training.model_copy(update={"start": version.version})
    return recipe.model_copy(update={"training": pinned}), initialization


def _started_as(recipe: Recipe, directory: RunDirectory) -> Recipe:
    """The recipe with the start of the run that goes on: an alias may name another version by now."""
    begun = load_recipe(str(directory.path / "recipe.yaml")).training.start
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"start": begun})})


def anything_new(recipe: Recipe, ref: str, tracking_uri: str | None = None) -> bool:
    """Whether training would make other bits than version `ref` of the recipe's name has: another recipe, or
    other recordings. A retraining that a schedule or an alert asks for need not run otherwise.

    Raises:
        RegistryError: there is no such version.
        DataError: the data cannot be opened.
    """
    tags = Registry.open(tracking_uri).version(recipe.name, ref).tags
    if tags.get("recipe_hash") != recipe.content_hash():
        return True
    return tags.get("data_hash") != data_fingerprint(open_problem(recipe).data)


@traced("check-data")
def check_data(problem: Problem, listener: Listener) -> str:
    """The data report as JSON; what makes figures doubtful is told to the listener.

    Raises:
        DataError: the report found what must be mended before training.
    """
    if not isinstance(problem.data, TaskPool):
        return json.dumps({"generated": repr(problem.data)}) + "\n"
    report = report_on(problem.data, problem.recipe.episodes.plan())
    errors = [f"{each.what}: {each.remedy}" for each in report.findings if each.severity == "error"]
    if errors:
        raise DataError("the data cannot be trained on:\n  " + "\n  ".join(errors))
    for finding in report.findings:
        if finding.severity == "warning":
            listener.on_warning(f"{finding.what}: {finding.remedy}")
    return json.dumps(report.as_dict(), indent=2) + "\n"


def evaluate_version(
    name: str,
    ref: str,
    *,
    listener: Listener,
    changes: Sequence[str] = (),
    tracking_uri: str | None = None,
) -> tuple[VersionInfo, ev.Evaluation]:
    """Measure a registered version and its baselines again, on the held-out tasks of its own recipe.

    Args:
        changes: `evaluation.key=value` changes of the recipe, such as more draws.

    Raises:
        RecipeError: a change is outside the `evaluation` section, or asks for seeds that were not trained.
        RegistryError: there is no such version, or its run lost its files.
    """
    for change in changes:
        if not change.startswith("evaluation.") or change.startswith("evaluation.seeds"):
            raise RecipeError(f"change {change!r}: only evaluation.* but `seeds` can change after training")
    registry = Registry.open(tracking_uri)
    version = registry.version(name, ref)
    with tempfile.TemporaryDirectory() as folder:
        files = registry.download_run(version.run_id, Path(folder))
        recipe = load_recipe(str(files / "recipe.yaml"), changes)
        metas = {phase: load_checkpoint(files / f"{phase}.pt").result for phase in phases(recipe)}
    return version, evaluate_starts(recipe, metas, listener)


def phases(recipe: Recipe) -> dict[str, Recipe]:
    """What is trained, by phase: the start and, to compare with, the joint model, for each seed."""
    planned: dict[str, Recipe] = {}
    for seed in range(recipe.seed, recipe.seed + recipe.evaluation.seeds):
        seeded = recipe.model_copy(update={"seed": seed})
        if recipe.baseline.joint:  # first, because closed-form heads begin on the joint model
            planned[_joint_phase(seed)] = joint_recipe(seeded)
        planned[_meta_phase(seed)] = seeded
    return planned


@traced("train-phases")
def train_phases(
    recipe: Recipe,
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
    """
    planned = phases(recipe)
    unfinished = [phase for phase, of in planned.items() if not _finished(directory, phase, of)]
    if unfinished:
        with engine(recipe, planned, address) as train_phase:
            for phase in unfinished:
                of = planned[phase]
                state = _open_state(directory, phase, of, start)
                listener.on_phase(phase, state.step, of.training.last_step, of.training.meta_batch)
                curves = _Curves(phase, recorder, listener)

                def keep(
                    state: OuterState, phase: str = phase, of: Recipe = of, curves: _Curves = curves
                ) -> None:
                    save_checkpoint(state.checkpoint(of), directory.checkpoint(phase))
                    curves.flush()

                done = train_phase(
                    phase,
                    of,
                    state,
                    on_step=curves.add,
                    on_checkpoint=keep,
                    should_stop=should_stop,
                )
                if not done:
                    return None
    return {phase: load_checkpoint(directory.checkpoint(phase)).result for phase in planned}


@traced("evaluate")
def evaluate_starts(recipe: Recipe, metas: Mapping[str, MetaParams], listener: Listener) -> ev.Evaluation:
    """Adaptation curves on the held-out tasks, from the meta-parameters of each phase."""
    section = recipe.evaluation
    problem = open_problem(recipe)
    trained = []
    for seed in range(recipe.seed, recipe.seed + section.seeds):
        seeded = open_problem(recipe.model_copy(update={"seed": seed}))
        trained.append(
            ev.Trained(
                seed=seed,
                learner=seeded.learner(),
                meta=metas[_meta_phase(seed)],
                untrained=open_problem(joint_recipe(seeded.recipe)).start(),
                joint=metas.get(_joint_phase(seed)),
            )
        )
    protocol = ev.EvaluationProtocol(
        shots=section.shots,
        steps=section.steps,
        long_steps=section.long_steps,
        draws=section.draws,
        rates=section.rates,
        policy_shots=recipe.episodes.shots,
        policy_steps=recipe.learner.policy_steps,
    )

    def test(shots: int) -> Sampler:
        return problem.sampler(problem.split.test[: section.tasks], shots)

    def validation(shots: int) -> Sampler:
        return problem.sampler(problem.split.validation[: section.tasks], shots)

    chosen_on = validation if len(problem.split.validation) else None
    with deterministic():  # as in training: figures must not depend on how many cores there are
        return ev.evaluate(protocol, trained, test, chosen_on, listener.on_evaluation)


@dataclass
class _Curves:
    """Training figures on their way to MLflow, sent at checkpoints so that a resumed run repeats none."""

    phase: str
    recorder: RunRecorder
    listener: Listener

    def __post_init__(self) -> None:
        self._rows: list[tuple[int, dict[str, float]]] = []

    def add(self, report: StepReport) -> None:
        figures = {**report.figures, "gradient_norm": report.gradient_norm}
        self._rows.append((report.step, {f"{self.phase}.{key}": value for key, value in figures.items()}))
        self.listener.on_step(report)

    def flush(self) -> None:
        try:
            self.recorder.log_metrics(self._rows)
        except RegistryError as error:  # hours of training are worth more than its curve: try again next time
            self.listener.on_warning(f"the curve is kept until the next checkpoint: {error}")
            return
        self._rows.clear()


def _meta_phase(seed: int) -> str:
    return f"meta-{seed}"


def _joint_phase(seed: int) -> str:
    return f"joint-{seed}"


def _open_state(directory: RunDirectory, phase: str, recipe: Recipe, start: MetaParams | None) -> OuterState:
    path = directory.checkpoint(phase)
    optimizer = recipe.training.optimizer
    if path.exists():
        checkpoint = load_checkpoint(path)
        check_same_recipe(checkpoint, recipe)
        return OuterState.restore(checkpoint, optimizer)
    if start is None or phase != _meta_phase(recipe.seed):
        start = _fresh_start(directory, recipe)
    state = OuterState.begin(start, optimizer)
    save_checkpoint(state.checkpoint(recipe), path)
    return state


def _fresh_start(directory: RunDirectory, recipe: Recipe) -> MetaParams:
    """New parameters, or for closed-form heads the joint model's where one was trained."""
    problem = open_problem(recipe)
    joint = directory.checkpoint(_joint_phase(recipe.seed))
    if not recipe.closed_form or not joint.exists():
        return problem.start()
    with deterministic():
        return problem.warm_start(load_checkpoint(joint).meta)


def _finished(directory: RunDirectory, phase: str, recipe: Recipe) -> bool:
    path = directory.checkpoint(phase)
    if not path.exists():
        return False
    checkpoint = load_checkpoint(path)
    check_same_recipe(checkpoint, recipe)
    return checkpoint.step >= recipe.training.last_step


@contextmanager
def mlflow_run(
    registry: Registry, recipe: Recipe, directory: RunDirectory, problem: Problem
) -> Iterator[RunRecorder]:
    """The MLflow run of this job, ended as the job ends; a resumed job goes on with its run."""
    run_id = directory.mlflow_run_id
    if run_id is None:
        recorder = registry.start_run(recipe.name, directory.name, lineage_of(recipe, problem))
        directory.set_mlflow_run_id(recorder.run_id)
        recorder.log_params(flat(recipe.model_dump(mode="json")))
        recorder.log_text(to_yaml(recipe), "recipe.yaml")
    else:
        recorder = registry.continue_run(run_id)
    try:
        yield recorder
    except BaseException:
        recorder.end("FAILED")
        raise
    recorder.end("FINISHED" if (directory.path / "finished").exists() else "KILLED")


def lineage_of(recipe: Recipe, problem: Problem) -> dict[str, str]:
    """Tags that say where a version comes from."""
    return {
        "recipe_hash": recipe.content_hash(),
        "data_hash": data_fingerprint(problem.data),
        "data_source": recipe.data.source,
        "training_tasks": str(len(problem.split.train)),
        "acclimate_version": acclimate.__version__,
    }
