"""The main job: open data, meta-train, evaluate on held-out tasks, judge, register."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from acclimate import evaluation as ev
from acclimate.files import write_whole
from acclimate.home import home, made_home
from acclimate.initialization import Initialization
from acclimate.registry import CANDIDATE, Registry, VersionInfo
from acclimate.traces import traced
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import to_yaml
from acclimate.training.run_directory import RunDirectory
from acclimate.workflow.judging import chosen_initialization, evaluate_checkpoints
from acclimate.workflow.listener import Listener
from acclimate.workflow.normal import fit_normal
from acclimate.workflow.phases import phases
from acclimate.workflow.records import (
    DATA_REPORT,
    check_data,
    lineage_of,
    mlflow_run,
    started_as,
    starting_version,
)
from acclimate.workflow.training import train_phases

VERDICT = "verdict"  # tag of a run and of a version: the verdict's sentence


@dataclass(frozen=True)
class Outcome:
    """A finished job."""

    initialization: Initialization
    version: VersionInfo
    evaluation: ev.Evaluation
    verdict: ev.Verdict
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
    candidate: bool = False,
) -> Outcome | None:
    """Run a recipe from its data to a registered version.

    Args:
        listener: hears the progress.
        should_stop: asked between steps; once true, a checkpoint is written and the job ends early.
        resume: go on with the newest unfinished run of this recipe.
        tracking_uri: of MLflow, see `acclimate.registry.locate`.
        address: of a running Ray cluster; None starts Ray on this machine.
        lineage: further tags of the version, such as what called for it.
        candidate: give the version its alias even where the verdict is that it loses to a simple rival.

    Returns:
        The outcome, or None if it was stopped.

    Raises:
        AcclimateError: anything a user can mend; what was trained until then is in a checkpoint.
    """
    directory = None
    if resume:
        directory = RunDirectory.to_resume(home(), recipe)
        recipe = started_as(recipe, directory)
    registry = Registry.open(tracking_uri)
    recipe, known = starting_version(recipe, registry)
    problem = open_problem(recipe)
    data_report = check_data(problem, listener)
    start = None if known is None else problem.start_from(known)
    directory = directory or RunDirectory.begin(made_home(), recipe, datetime.now())
    listener.on_data(problem, directory.path)
    with directory.held(), mlflow_run(registry, recipe, directory, problem) as recorder:
        recorder.log_text(data_report, DATA_REPORT)
        trained: Mapping[str, object] = {}
        if problem.data.schema.kind == "anomaly":
            initialization, evaluation = fit_normal(problem, listener.on_evaluation)
        else:
            metas = train_phases(problem, start, directory, recorder, listener, should_stop, address)
            if metas is None:
                return None
            trained = phases(problem)
            initialization = chosen_initialization(problem, metas)
            evaluation = evaluate_checkpoints(problem, directory.path, listener)
        verdict = ev.judge(evaluation)
        from acclimate.evaluation.plot import save_plot  # matplotlib, that most steps never need

        plot = directory.path / "adaptation.png"
        save_plot(evaluation, recipe.name, plot)
        write_whole(directory.path / "evaluation.json", json.dumps(evaluation.as_json(), indent=2) + "\n")
        for file in (plot, directory.path / "evaluation.json", *map(directory.checkpoint, trained)):
            recorder.log_file(file)
        recorder.log_metrics([(recipe.training.last_step, evaluation.figures())])
        recorder.set_tags({VERDICT: verdict.sentence})
        version = registry.register(
            recipe.name,
            initialization,
            experiment=recipe.name,
            run_id=recorder.run_id,
            evaluation=evaluation.as_json(),
            files={
                "recipe.yaml": to_yaml(recipe),
                DATA_REPORT: data_report,
                "verdict.json": json.dumps(verdict.as_json(), indent=2) + "\n",
            },
            lineage={**(lineage or {}), **lineage_of(recipe, problem), VERDICT: verdict.sentence},
            metrics=evaluation.figures(),
            alias=alias_of(verdict, candidate),
        )
        directory.finish()
    return Outcome(initialization, version, evaluation, verdict, plot, directory.path)


def alias_of(verdict: ev.Verdict, candidate: bool = False) -> str | None:
    """The alias of a version with this verdict: none where a simple rival is proven to be better."""
    return CANDIDATE if candidate or verdict.loses_to is None else None
