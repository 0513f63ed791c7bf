"""What a job trains: the start and the joint model, for each seed, and for tiny fleets once more in folds."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from acclimate.errors import DataError
from acclimate.training.problem import Problem, joint_recipe
from acclimate.training.recipe import Recipe

_FOLD = "-fold-"
FOLDS = 3  # over the training groups of a fleet too small to set any aside


def meta_phase(seed: int, fold: int | None = None) -> str:
    """The phase that trains the start."""
    return f"meta-{seed}" if fold is None else f"meta-{seed}{_FOLD}{fold}"


def joint_phase(seed: int, fold: int | None = None) -> str:
    """The phase that trains the joint model."""
    return f"joint-{seed}" if fold is None else f"joint-{seed}{_FOLD}{fold}"


def solved_phase(seed: int, fold: int | None = None) -> str:
    """What closed-form heads on the joint model begin with: nothing is trained for them."""
    return joint_phase(seed, fold).replace("joint", "solved", 1)


def phases(problem: Problem) -> dict[str, Recipe]:
    """The recipe of each phase, in the order in which they are trained: folds tell how long pays."""
    recipe = problem.recipe
    planned: dict[str, Recipe] = {}
    for number, fold in enumerate(folds(problem)):
        planned |= _both(fold, number)
    for seed in range(recipe.seed, recipe.seed + recipe.evaluation.seeds):
        planned |= _both(with_changes(recipe, seed=seed), None)
    return planned


def as_long_as_pays(recipe: Recipe, phase: str, best_steps: Mapping[str, int]) -> Recipe:
    """The recipe of a phase that no validation tasks can stop: it ends where its folds did best, the median.

    Args:
        best_steps: of phases that are trained, after how many steps each did best on tasks that it had not
            seen, none among them.
    """
    kind = phase.partition("-")[0]
    of_folds = [steps for name, steps in best_steps.items() if name.startswith(kind) and _FOLD in name]
    if _FOLD in phase or not of_folds or recipe.training.start is not None:  # folds begin anew
        return recipe
    training = recipe.training.model_copy(update={"stop_at": int(np.median(of_folds))})
    return with_changes(recipe, training=training)


def folds(problem: Problem) -> list[Recipe]:
    """The recipe with a part of the training groups set aside for validation, in turn.

    None where validation groups are set aside anyway, or where a fold would teach a label to nobody.
    """
    if len(problem.split.validation):
        return []
    names = sorted({problem.data.groups[task] for task in problem.split.train})
    if len(names) < 2:
        return []
    parts = np.array_split(np.array(names, dtype=object), min(FOLDS, len(names)))
    return list(_possible(problem, parts))


def with_changes(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with other values at its top."""
    return recipe.model_copy(update=changes)


def _both(recipe: Recipe, fold: int | None) -> dict[str, Recipe]:
    joint = joint_recipe(recipe)
    if recipe.learner.algorithm == "joint":  # as the baseline of other recipes: what they compare with
        return {meta_phase(recipe.seed, fold): joint}
    # The joint model first: some learners begin on it.
    planned = {joint_phase(recipe.seed, fold): joint} if recipe.baseline.joint else {}
    return planned | {meta_phase(recipe.seed, fold): recipe}


def _possible(problem: Problem, parts: list[Any]) -> Iterator[Recipe]:
    for part in parts:
        aside = tuple(glob.escape(name) for name in part)
        data = problem.recipe.data.model_copy(update={"validation_groups": aside})
        fold = with_changes(problem.recipe, data=data)
        try:
            problem.again(fold)
        except DataError:
            continue
        yield fold
