"""The steps up to a registered version. Each reads and writes files, so that it may run on any machine."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.challenge import challenge_champion
from acclimate.errors import TrainingError
from acclimate.evaluation import Evaluation, Requirement, judge
from acclimate.home import home
from acclimate.initialization import Initialization
from acclimate.logged_job import LoggedJob
from acclimate.registry import Registry
from acclimate.training.problem import Problem, data_fingerprint, open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import load_recipe, to_yaml
from acclimate.training.run_directory import RunDirectory
from acclimate.training.stopping import stop_on_signals
from acclimate.workflow import (
    DATA_REPORT,
    VERDICT,
    check_data,
    chosen_initialization,
    evaluate_checkpoints,
    lineage_of,
    mlflow_run,
    starting_version,
    train_phases,
)
from acclimate_pipelines import pages
from acclimate_pipelines.prepared import pack, unpack
from acclimate_pipelines.step import step

log = logging.getLogger(__name__)


@step
def prepare(recipe: str, tasks: Path) -> dict[str, str]:
    """Build the task pool of a recipe (YAML text) into `tasks`; gives what to show of it."""
    return pack(recipe, tasks)


@step
def report(tasks: Path, document: Path, page: Path) -> None:
    """Write the data report, as JSON and as a page; ends the run where the data cannot be trained on."""
    prepared = unpack(tasks)
    listener = LoggedJob(prepared.recipe.name)
    text = check_data(open_problem(prepared.located), listener)
    document.write_text(text, encoding="utf-8")
    page.write_text(pages.data_report(prepared.recipe.name, json.loads(text)), encoding="utf-8")


@step
def meta_train(tasks: Path, checkpoints: Path, initialization: Path) -> str:
    """Train every phase; gives the id of the MLflow run.

    Checkpoints are kept under ACCLIMATE_HOME by what determines the result (recipe, data and the version that
    training starts from): a step that is tried again goes on there, to the same bits.

    Raises:
        TrainingError: it was asked to stop; what was trained until then is in a checkpoint.
    """
    prepared = unpack(tasks)
    problem = open_problem(prepared.located)
    listener = LoggedJob(prepared.recipe.name)
    registry = Registry.open()
    pinned, known = starting_version(prepared.recipe, registry)
    start = None if known is None else problem.start_from(known)
    directory = _run_directory(pinned, problem, "" if known is None else known.content_hash())
    listener.on_data(problem, directory.path)
    with (
        stop_on_signals() as should_stop,
        directory.held(),
        mlflow_run(registry, pinned, directory, problem) as run,
    ):
        address = os.environ.get("RAY_ADDRESS")
        metas = train_phases(problem, start, directory, run, listener, should_stop, address)
        if metas is None:
            raise TrainingError(f"stopped; run the step again, it goes on from {directory.path}")
        checkpoints.mkdir(parents=True, exist_ok=True)
        for file in map(directory.checkpoint, metas):
            run.log_file(file)
            shutil.copy(file, checkpoints / file.name)
        chosen_initialization(problem, metas).save(initialization)
        directory.finish()
    return run.run_id


@step
def evaluate(tasks: Path, checkpoints: Path, evaluation: Path, page: Path) -> dict[str, float]:
    """Adaptation curves on held-out tasks beside the baselines, as JSON and as a page; gives the figures."""
    from acclimate.evaluation.plot import save_plot  # matplotlib, that no other step needs

    prepared = unpack(tasks)
    problem = open_problem(prepared.located)
    found = evaluate_checkpoints(problem, checkpoints, LoggedJob(prepared.recipe.name))
    evaluation.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    picture = page.with_name("adaptation.png")
    save_plot(found, prepared.recipe.name, picture)
    page.write_text(pages.evaluation(prepared.recipe.name, found, picture.read_bytes()), encoding="utf-8")
    return found.figures()


@dataclass(frozen=True)
class Gated:
    """What the gate decided, and why."""

    passed: bool
    reason: str
    figures: Mapping[str, float]


@step
def gate(
    tasks: Path,
    initialization: Path,
    evaluation: Path,
    champion: str,
    minimum_gain: float,
    proven: bool,
    verdict: Path,
    *,
    must_pass: bool = False,
) -> Gated:
    """Judge the trained start against version `champion` (alias or number), measured now on the same tasks.

    The first version of a name has no champion to beat. None passes that loses to a simple rival in its own
    evaluation, such as the joint model, by its interval.

    Raises:
        TrainingError: it did not pass, and `must_pass` says that this ends the run.
    """
    prepared = unpack(tasks)
    recipe = prepared.located
    lost = judge(Evaluation.from_json(json.loads(evaluation.read_text("utf-8"))))
    requirement = Requirement(minimum_gain, proven)
    found = challenge_champion(
        recipe, Initialization.load(initialization), Registry.open(), champion, requirement
    )
    if lost.loses_to is not None:
        beaten = {"passed": False, "reason": lost.sentence, "champion_version": None}
        return _gated(beaten, {}, verdict, must_pass)
    if found is None:
        reason = f"{recipe.name} has no version {champion!r} yet: there is nothing to be better than"
        return _gated({"passed": True, "reason": reason, "champion_version": None}, {}, verdict, must_pass)
    version, judged = found
    document = {**judged.as_json(), "champion_version": version.version}
    names = ("challenger", "champion", "gain", "low", "high", "worst_gain")
    finite = {name: document[name] for name in names if document[name] is not None}
    return _gated(document, finite, verdict, must_pass)


@step
def register(
    tasks: Path,
    initialization: Path,
    evaluation: Path,
    document: Path,
    verdict: Path,
    run_id: str,
    tags: Mapping[str, str],
) -> str:
    """Register the trained start as the next version and candidate; gives `NAME@VERSION`.

    Args:
        tags: further lineage, such as the alert that called for it.
    """
    prepared = unpack(tasks)
    judged = json.loads(verdict.read_text("utf-8"))
    found = Evaluation.from_json(json.loads(evaluation.read_text("utf-8")))
    sentence = judge(found).sentence
    registry = Registry.open()
    recipe = _trained_recipe(registry, run_id)
    run = registry.continue_run(run_id)
    run.log_file(evaluation)
    run.log_metrics([(recipe.training.last_step, found.figures())])
    run.set_tags({VERDICT: sentence})
    run.end("FINISHED")
    lineage = {**lineage_of(recipe, open_problem(prepared.located)), VERDICT: sentence}
    if judged["champion_version"] is not None:
        lineage["parent_version"] = str(judged["champion_version"])
    version = registry.register(
        recipe.name,
        Initialization.load(initialization),
        experiment=recipe.name,
        run_id=run_id,
        evaluation=found.as_json(),
        files={
            "recipe.yaml": to_yaml(recipe),
            DATA_REPORT: document.read_text("utf-8"),
            "gate.json": verdict.read_text("utf-8"),
        },
        lineage={**tags, **lineage, "gate": judged["reason"]},
        metrics=found.figures(),
    )
    return f"{version.name}@{version.version}"


def _gated(
    document: Mapping[str, Any], figures: Mapping[str, float], verdict: Path, must_pass: bool
) -> Gated:
    """The gate's decision, written down.

    Raises:
        TrainingError: it did not pass and must.
    """
    gated = Gated(document["passed"], document["reason"], figures)
    verdict.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    log.info("gated", extra={"passed": gated.passed, "detail": gated.reason})
    if must_pass and not gated.passed:
        raise TrainingError(f"nothing is registered: {gated.reason}")
    return gated


def _run_directory(pinned: Recipe, problem: Problem, start: str) -> RunDirectory:
    evaluated = json.dumps([pinned.evaluation.seeds, pinned.baseline.model_dump()])
    parts = (pinned.content_hash(), data_fingerprint(problem.data), start, evaluated)
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    directory = RunDirectory(home() / "pipeline-runs" / pinned.name / key)
    directory.path.mkdir(parents=True, exist_ok=True)
    (directory.path / "recipe.yaml").write_text(to_yaml(pinned), "utf-8")
    return directory


def _trained_recipe(registry: Registry, run_id: str) -> Recipe:
    """The recipe as it was trained, with the number of the version that it started from."""
    with tempfile.TemporaryDirectory() as folder:
        return load_recipe(str(registry.download_run(run_id, Path(folder)) / "recipe.yaml"))
