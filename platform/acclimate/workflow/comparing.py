"""Compare learners and networks over the whole fleet, fold by fold: every device is held out once.

A fold's job trains one candidate without the fold's devices, chooses its settings on the next fold's and is
judged on its own: a pure function of the recipe and the fold. Its result is a file, so that an interrupted
comparison goes on with the jobs that are left, to the same table.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from acclimate import evaluation as ev
from acclimate.errors import AcclimateError, DataError, TrainingError, in_a_line
from acclimate.files import write_whole
from acclimate.learners import MetaParams
from acclimate.tasks.episodes.split import fold_groups
from acclimate.training.executor import InProcess
from acclimate.training.fan_out import fan_out
from acclimate.training.loop import OuterState, train
from acclimate.training.plan import keep_plan
from acclimate.training.problem import Problem, data_fingerprint, joint_recipe, open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import to_yaml
from acclimate.training.run_directory import RunDirectory
from acclimate.training.shard import deterministic
from acclimate.training.validation import validator
from acclimate.workflow.candidates import RIVALS, SHIPPABLE, Candidate, candidates, recipe_of
from acclimate.workflow.judging import (
    as_shipped,
    held_out_of,
    protocol_of,
    proven,
    solved,
    trained_of,
    trials_of,
)
from acclimate.workflow.normal import fit_normal
from acclimate.workflow.phases import joint_phase, meta_phase, with_changes

FOLDS = 5
_LEAST_GROUPS = 3  # one to train on, one to choose on, one to judge


@dataclass(frozen=True)
class Job:
    """One candidate on one fold.

    Attributes:
        recipe: with the fold's groups held out.
        rivals: measure the joint model and every rival, and not a learner.
    """

    recipe: Recipe
    rivals: bool


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        recommended: the recipe to train; None where a rival that needs no platform is better.
    """

    found: ev.Compared
    recommended: Recipe | None
    plot: Path
    directory: Path


def compare(
    recipe: Recipe,
    directory: Path,
    *,
    folds: int = FOLDS,
    learners: Sequence[str] = (),
    models: Sequence[str] = (),
    workers: int = 2,
    address: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_job: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Comparison | None:
    """Compare and recommend; None if it was stopped.

    Args:
        directory: keeps the results of jobs; those that are there already are not run again.
        folds: the fleet's groups are cut into so many parts, fewer where it is smaller.
        learners: algorithms to try; the sensible ones if none are named.
        models: networks to try; the sensible ones of the kind if none are named.
        workers: jobs at a time, a core each; 0 runs them in this process.
        address: of a Ray cluster; None starts Ray on this machine.
        on_job: called with (what, done, total) as jobs end.

    Raises:
        DataError: the fleet has fewer than three groups, or a label occurs in too few of them.
        TrainingError: `directory` holds another comparison or is being written by one, or every candidate
            failed.
    """
    problem = open_problem(_with_data(recipe, test=0, validation=0, test_groups=(), validation_groups=()))
    tried = candidates(problem, learners, models)
    parts = _folds(problem, folds)
    jobs = {
        f"{candidate.name}, fold {number + 1}": Job(
            _held_out(candidate.recipe, parts, number), candidate.learner == RIVALS
        )
        for number in range(len(parts))
        for candidate in tried
    }
    (directory / "jobs").mkdir(parents=True, exist_ok=True)
    with RunDirectory(directory).held():
        plan = {
            "recipe": _measured(recipe),
            "recordings": data_fingerprint(problem.data),
            "folds": len(parts),
            "candidates": [each.name for each in tried],
        }
        keep_plan(
            directory, plan, "a comparison of another recipe, other data, other folds or other candidates"
        )
        results = _read(directory, jobs)
        waiting = {name: job for name, job in jobs.items() if name not in results}
        for name, result in fan_out(
            run_job, waiting, workers=workers, address=address, should_stop=should_stop
        ):
            write_whole(_file(directory, name), json.dumps(result, sort_keys=True) + "\n")
            results[name] = result
            on_job(name, len(results), len(jobs))
    if len(results) < len(jobs):
        return None
    found = _gather(tried, results, len(parts))
    recommended = _recommended(recipe, found, tried)
    from acclimate.evaluation.plot import save_comparison  # matplotlib, that no worker needs

    plot = directory / "comparison.png"
    save_comparison(found, recipe.name, plot)
    write_whole(directory / "comparison.json", json.dumps(found.as_json(), indent=2) + "\n")
    return Comparison(found, recommended, plot, directory)


def run_job(job: Job) -> dict[str, Any]:
    """Train and measure one candidate on one fold: an evaluation as JSON, or why there is none."""
    problem = open_problem(job.recipe)
    if problem.data.schema.kind == "anomaly":
        try:
            return fit_normal(problem, _unheard, choosing=True)[1].as_json()
        except DataError as error:  # none of these devices ever had an anomaly, or too few were normal
            return {"unjudged": str(error)}
    try:
        return _measured_by(problem, job.rivals).as_json()
    except MemoryError:  # of this machine, now: a resumed comparison tries again
        raise
    except Exception as error:  # it diverged, or its network raised: no reason to give the others up
        return {"failed": in_a_line(error)}


def _measured_by(problem: Problem, rivals: bool) -> ev.Evaluation:
    """Train on the fold and judge: a learner, or its rivals."""
    recipe, metas = problem.recipe, _trained(problem, rivals)
    section = recipe.evaluation.model_copy(update={"shots": (recipe.episodes.shots,)})
    with deterministic():
        metas = metas | solved(problem, metas) if rivals else as_shipped(problem, proven(problem, metas))
        trained = trained_of(problem, metas, None)
        trials, chosen_on = trials_of(problem, metas, trained)
        return ev.evaluate(
            protocol_of(with_changes(recipe, evaluation=section)),
            [trained],
            held_out_of(problem),
            trials,
            chosen_on,
            _unheard,
            wanted=lambda start: (start == "meta") != rivals,
        )


def _unheard(what: str, done: int, total: int) -> None:
    """Progress within a job: nobody listens, for jobs run elsewhere."""


def _trained(problem: Problem, rivals: bool) -> dict[str, MetaParams]:
    recipe = problem.recipe
    joint, meta = joint_phase(recipe.seed), meta_phase(recipe.seed)
    metas: dict[str, MetaParams] = {}
    if recipe.baseline.joint and (rivals or recipe.closed_form):
        metas[joint] = _train(problem.again(joint_recipe(recipe)), None)
    if rivals:
        return metas | {meta: problem.start()}
    start = None
    if recipe.closed_form and joint in metas:
        with deterministic():
            start = problem.warm_start(metas[joint])
    return metas | {meta: _train(problem, start)}


def _train(problem: Problem, start: MetaParams | None) -> MetaParams:
    """All steps in this process."""
    recipe = problem.recipe
    state = OuterState.begin(problem.start() if start is None else start, recipe.training.optimizer)
    train(
        recipe,
        state,
        partial(InProcess({"only": recipe}, problem).compute, "only"),
        validate=validator(problem),
        on_step=lambda report: None,
        on_checkpoint=lambda state: None,
        should_stop=lambda: False,
    )
    return state.result


def _folds(problem: Problem, folds: int) -> list[list[str]]:
    groups = len(set(problem.data.groups))
    if groups < _LEAST_GROUPS:
        raise DataError(
            f"the fleet has {groups} device(s): comparing needs one to train on, one to choose on and one to "
            "judge; record more"
        )
    parts = fold_groups(
        problem.data, max(_LEAST_GROUPS, min(folds, groups)), seed=problem.recipe.data.split_seed
    )
    for number in range(len(parts)):  # said before any job is run, not after half of them
        try:
            problem.again(_held_out(problem.recipe, parts, number))
        except DataError as error:
            raise DataError(
                f"{error}. Comparing holds every device out once: what a single part of the fleet has cannot "
                "be compared; record it on more devices, or leave its rows out"
            ) from error
    return parts


def _held_out(recipe: Recipe, parts: Sequence[Sequence[str]], number: int) -> Recipe:
    """The recipe that is judged on one part and chooses on the next."""
    judged, chosen = parts[number], parts[(number + 1) % len(parts)]
    return _with_data(
        recipe,
        test_groups=tuple(map(glob.escape, judged)),
        validation_groups=tuple(map(glob.escape, chosen)),
    )


def _with_data(recipe: Recipe, **changes: object) -> Recipe:
    return with_changes(recipe, data=recipe.data.model_copy(update=changes))


def _measured(recipe: Recipe) -> dict[str, Any]:
    """What decides every figure: the trained parameters, and how they are judged."""
    return recipe.determines() | recipe.model_dump(mode="json", include={"baseline", "evaluation"})


def _read(directory: Path, jobs: Mapping[str, Job]) -> dict[str, dict[str, Any]]:
    files = {name: _file(directory, name) for name in jobs}
    return {name: json.loads(path.read_text("utf-8")) for name, path in files.items() if path.exists()}


def _file(directory: Path, name: str) -> Path:
    return directory / "jobs" / f"{name.replace('/', '-').replace(':', '-')}.json"


def _gather(tried: Sequence[Candidate], results: Mapping[str, Mapping[str, Any]], folds: int) -> ev.Compared:
    evaluations: dict[tuple[str, str], list[ev.Evaluation]] = {}
    failed: dict[tuple[str, str], str] = {}
    names: dict[tuple[str, str], str] = {}
    with_rivals = {each.model for each in tried if each.learner == RIVALS}
    for candidate in tried:
        key = ("" if candidate.learner == RIVALS else candidate.learner, candidate.model)
        names[key] = candidate.name
        of_folds = [results[f"{candidate.name}, fold {number + 1}"] for number in range(folds)]
        if why := [str(each["failed"]) for each in of_folds if "failed" in each]:
            failed[key] = why[0]  # on one fold is on all: the others tell of other devices only
            continue
        judged = [ev.Evaluation.from_json(each) for each in of_folds if "unjudged" not in each]
        if not judged:
            failed[key] = str(of_folds[0]["unjudged"])
        else:
            evaluations[key] = judged
            if candidate.model not in with_rivals:
                evaluations["", candidate.model] = judged
    if not evaluations:
        raise TrainingError(f"every candidate failed; the first: {next(iter(failed.values()))}")
    return ev.compared(evaluations, failed, names)


def _recommended(recipe: Recipe, found: ev.Compared, tried: Sequence[Candidate]) -> Recipe | None:
    entry = found.entry(found.recommended)
    of_learner = {each.learner: each.recipe for each in tried if each.model == entry.model}
    if entry.start == "meta":
        best = of_learner[entry.learner]
    elif entry.start in SHIPPABLE and RIVALS in of_learner:
        best = recipe_of(of_learner[RIVALS], entry.start)
    elif entry.start == "joint":  # what is normal of a fleet is of one recipe, whether devices adapt or not
        best = next(iter(of_learner.values()))
    else:
        return None
    return with_changes(best, data=recipe.data)


def recommended_yaml(comparison: Comparison) -> str:
    """The recommended recipe as YAML, with the verdict on top.

    Raises:
        AcclimateError: nothing is recommended.
    """
    if comparison.recommended is None:
        raise AcclimateError("no recipe is recommended")
    sentence = comparison.found.verdict.sentence
    return f"# Recommended by `acclimate compare`: {comparison.found.recommended}.\n# {sentence}\n" + to_yaml(
        comparison.recommended
    )
