"""What `compare` tries: the kinds' sensible learners and networks, the recipe's own first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acclimate.errors import AcclimateError, RecipeError
from acclimate.learners import check_head
from acclimate.models import build
from acclimate.tasks.recordings import LONGEST_WINDOW
from acclimate.training.problem import Problem
from acclimate.training.recipe import LearnerSection, ModelSection, Recipe
from acclimate.workflow.phases import with_changes

RIVALS = "rivals"  # no learner: the joint model, and whatever needs no meta-learning


@dataclass(frozen=True)
class Candidate:
    """A learner on a network.

    Attributes:
        learner: its algorithm; `rivals` stands for all of them, which are measured on every network.
        model: the network's name.
        recipe: the recipe with both, whatever is held out.
    """

    learner: str
    model: str
    recipe: Recipe

    @property
    def name(self) -> str:
        """For people, and for files."""
        return f"{self.learner} on {self.model}"


def candidates(problem: Problem, learners: Sequence[str] = (), models: Sequence[str] = ()) -> list[Candidate]:
    """Every learner on every network, and each network's rivals.

    Args:
        problem: of the recipe to improve on.
        learners: algorithms; the sensible ones if none are named.
        models: networks; the sensible ones of the kind if none are named.

    Raises:
        RecipeError: none of them fits the data.
    """
    recipe = problem.recipe
    own = recipe.learner.algorithm
    if problem.data.schema.kind == "anomaly":  # nothing is trained: a network's rivals come with its job
        wanted: Sequence[str] = ("closed-form",)
    else:
        wanted = learners or tuple(dict.fromkeys((own, "closed-form", "meta-sgd", "reptile")))
    found: list[Candidate] = []
    for section in _models(problem, models):
        on_model = with_changes(recipe, model=section)
        if not _fits(problem, on_model, RIVALS):
            continue
        if problem.data.schema.kind != "anomaly":
            found.append(Candidate(RIVALS, section.name, on_model))
        for algorithm in wanted:
            if algorithm in ("joint", "device-only") or not _fits(problem, on_model, algorithm):
                continue
            of_learner = with_changes(on_model, learner=_learner(recipe, algorithm))
            found.append(Candidate(algorithm, section.name, of_learner))
    if not found:
        raise RecipeError("none of these learners and networks fits the data: name others")
    return found


def joint_recipe_of(candidate: Candidate) -> Recipe:
    """The recipe that trains and ships the joint model of a candidate's network."""
    return with_changes(candidate.recipe, learner=_learner(candidate.recipe, "joint"))


def _models(problem: Problem, named: Sequence[str]) -> list[ModelSection]:
    own = problem.recipe.model
    presets = {each.name: each for each in _presets(problem)} | {own.name: own}
    names = named or tuple(dict.fromkeys((own.name, *presets)))
    return [presets.get(name, ModelSection(name=name)) for name in names]


def _presets(problem: Problem) -> list[ModelSection]:
    schema, shape = problem.data.schema, problem.spec.input_shape
    wide: dict[str, Any] = {"hidden": [64, 64]}
    if schema.kind == "anomaly":
        return [ModelSection(name="levels"), ModelSection(name="spectral")]
    if len(shape) == 3:
        return [ModelSection(name="conv4")]
    if schema.kind == "forecasting":
        return [ModelSection(name="forecast"), ModelSection(name="mlp", options=wide)]
    if len(shape) == 1:
        return [ModelSection(name="mlp", options=wide)]
    blocks: dict[str, Any] = {"filters": 24, "norm": "group", "readout": "blocks"}
    convolutions = ModelSection(name="conv1d", options=blocks)
    if schema.kind == "regression" and shape[1] <= LONGEST_WINDOW:
        return [ModelSection(name="levels", options={"hidden": [64]}), convolutions]
    return [ModelSection(name="spectral"), convolutions]


def _learner(recipe: Recipe, algorithm: str) -> LearnerSection:
    """The recipe's own section, or one with the same budget on the device."""
    own = recipe.learner
    if algorithm == own.algorithm:
        return own
    steps = {"meta-sgd": 3, "maml": 3, "maml++": 3, "anil": 5, "reptile": 5}
    return LearnerSection.model_validate(
        {
            "algorithm": algorithm,
            "inner_lr": own.inner_lr,
            "inner_steps": steps.get(algorithm, own.inner_steps),
            "adapt_steps": own.policy_steps,
            "loss": own.loss,
            "compile": own.compile,
        }
    )


def _fits(problem: Problem, recipe: Recipe, algorithm: str) -> bool:
    """Whether a network can be built for these data, and ends in a head where one is solved."""
    try:
        again = problem.again(recipe)
        if algorithm == "closed-form":
            check_head(build(again.spec), again.spec.input_shape)
    except AcclimateError:
        return False
    return True
