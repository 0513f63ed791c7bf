"""What a job trains: the start and the joint model, for each seed, and for tiny fleets once more in folds."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from typing import Any

import numpy as np

from acclimate.errors import DataError
from acclimate.training.problem import Problem, joint_recipe
from acclimate.training.recipe import Recipe

FOLDS = 3  # over the training groups of a fleet too small to set any aside


def meta_phase(seed: int, fold: int | None = None) -> str:
    """The phase that trains the start."""
    return f"meta-{seed}" if fold is None else f"meta-{seed}-fold-{fold}"


def joint_phase(seed: int, fold: int | None = None) -> str:
    """The phase that trains the joint model."""
    return f"joint-{seed}" if fold is None else f"joint-{seed}-fold-{fold}"


def phases(problem: Problem) -> dict[str, Recipe]:
    """The recipe of each phase, in the order in which they are trained."""
    recipe = problem.recipe
    planned: dict[str, Recipe] = {}
    for seed in range(recipe.seed, recipe.seed + recipe.evaluation.seeds):
        planned |= _both(with_changes(recipe, seed=seed), None)
    for number, fold in enumerate(folds(problem)):
        planned |= _both(fold, number)
    return planned


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
    # The joint model first: some learners begin on it.
    planned = {joint_phase(recipe.seed, fold): joint_recipe(recipe)} if recipe.baseline.joint else {}
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
