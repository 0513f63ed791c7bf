"""What a job reads from the registry and leaves there: its start, run, lineage and data report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import acclimate
from acclimate.errors import DataError
from acclimate.initialization import Initialization
from acclimate.registry import Registry, RunRecorder
from acclimate.tasks import TaskPool, report_on
from acclimate.traces import traced
from acclimate.training.federated.round import epsilon_of, most_rounds
from acclimate.training.problem import Problem, data_fingerprint, open_problem
from acclimate.training.recipe import Recipe, flat
from acclimate.training.recipe_file import load_recipe, to_yaml
from acclimate.training.run_directory import RunDirectory
from acclimate.workflow.listener import Listener

DATA_REPORT = "data_report.json"


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


def started_as(recipe: Recipe, directory: RunDirectory) -> Recipe:
    """The recipe with the start of the run that goes on: an alias may name another version by now."""
    begun = load_recipe(str(directory.path / "recipe.yaml")).training.start
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"start": begun})})


def anything_new(recipe: Recipe, ref: str, tracking_uri: str | None) -> bool:
    """Whether training would make other bits than version `ref` of the recipe's name has: another recipe,
    other recordings, or another version to start from. A retraining that a schedule or an alert asks for need
    not run otherwise.

    Raises:
        RegistryError: there is no such version.
        DataError: the data cannot be opened.
    """
    registry = Registry.open(tracking_uri)
    version = registry.version(recipe.name, ref)
    start = starting_version(recipe, registry)[0].training.start
    # To go on from the version itself, with nothing else to learn from, is nothing new either.
    if str(start or "") not in (version.tags.get("start", ""), str(version.version)):
        return True
    if version.tags.get("recipe_hash") != recipe.content_hash():
        return True
    return version.tags.get("data_hash") != data_fingerprint(open_problem(recipe).data)


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
        source = recipe.data.source
        tasks = len(problem.split.train)
        recorder.log_input(Path(source).stem, data_fingerprint(problem.data), source, tasks)
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
        **({} if recipe.training.start is None else {"start": str(recipe.training.start)}),
        **_federated(recipe, problem),
        "training_tasks": str(len(problem.split.train)),
        "acclimate_version": acclimate.__version__,
    }


def _federated(recipe: Recipe, problem: Problem) -> dict[str, str]:
    """What a campaign cost its devices; nothing where recordings were collected."""
    section = recipe.federated
    if section is None:
        return {}
    rounds = most_rounds(problem)
    return {
        "federated": "statistics" if recipe.closed_form else "gradients",
        "federated.rounds": str(1 if recipe.closed_form else recipe.training.last_step),
        "federated.devices": str(len(problem.training_devices())),
        "federated.aggregator": section.aggregator,
        "federated.epsilon": f"{epsilon_of(recipe, rounds):.4g}",
        "federated.delta": f"{section.delta:g}",
    }
