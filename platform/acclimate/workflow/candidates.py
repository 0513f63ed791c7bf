"""What `compare` tries: the kinds' sensible learners and networks, the recipe's own first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acclimate.errors import AcclimateError, RecipeError
from acclimate.evaluation.contenders import Start
from acclimate.learners import check_head
from acclimate.models import build
from acclimate.tasks.recordings import LONGEST_WINDOW
from acclimate.training.problem import Problem, joint_recipe
from acclimate.training.recipe import LearnerSection, ModelSection, Recipe, flat
from acclimate.workflow.phases import with_changes

_ALGORITHMS: dict[Start, str] = {
    "joint": "joint",
    "joint_finetuned": "joint",
    "joint_solved": "closed-form",
    "device_only": "device-only",
}
"""The learner whose start a rival is; the others have no bundle."""
SHIPPABLE = tuple(_ALGORITHMS)
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
            found.append(Candidate(RIVALS, section.name, _beside(on_model)))
        for algorithm in wanted:
            if algorithm in ("joint", "device-only") or not _fits(problem, on_model, algorithm):
                continue
            of_learner = with_changes(on_model, learner=_learner(recipe, algorithm))
            found.append(Candidate(algorithm, section.name, of_learner))
    if not found:
        raise RecipeError("none of these learners and networks fits the data: name others")
    return found


def recipe_of(recipe: Recipe, start: Start) -> Recipe:
    """The recipe whose start is what `start` is in the evaluation of `recipe`, to the same figures.

    Raises:
        RecipeError: no bundle holds that, see `SHIPPABLE`.
    """
    algorithm = _ALGORITHMS.get(start)
    if algorithm is None:
        raise RecipeError(f"no recipe trains {start}: no bundle holds it")
    section = _learner(recipe, algorithm)
    if start == "joint":
        section = section.model_copy(update={"adapt_steps": 0})
    changed: dict[str, Any] = {"learner": section, "federated": None}
    stop_at = recipe.training.stop_at or None
    if start == "joint_solved":
        stop_at = 0
        changed["baseline"] = recipe.baseline.model_copy(update={"joint": True})
    training = recipe.training.model_copy(update={"stop_at": stop_at})
    return with_changes(recipe, training=training, **changed)


def changes_for(recipe: Recipe, start: Start) -> list[str]:
    """The `key=value` changes that make a recipe that of `start`, see `recipe_of`."""
    before, after = (flat(each.model_dump(mode="json")) for each in (recipe, recipe_of(recipe, start)))
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in after.items()
        if key not in before or before[key] != value
    ]


def _beside(recipe: Recipe) -> Recipe:
    """The recipe in whose evaluation every rival stands: that of a learner which is none of them itself."""
    if recipe.learner.algorithm not in ("joint", "device-only"):
        return recipe
    budget = recipe.learner.policy_steps or None
    learner = _learner(recipe, "joint").model_copy(update={"algorithm": "maml", "adapt_steps": budget})
    baseline = recipe.baseline.model_copy(update={"joint": True})
    return with_changes(recipe, learner=learner, baseline=baseline)


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
    budget = own.policy_steps or None
    if algorithm in _ALGORITHMS.values():  # of the gradient baselines, which rivals are in its evaluation
        rival = joint_recipe(recipe).learner
        return rival.model_copy(update={"algorithm": algorithm, "adapt_steps": budget})
    steps = {"meta-sgd": 3, "maml": 3, "maml++": 3, "anil": 5, "reptile": 5}
    return LearnerSection.model_validate(
        {
            "algorithm": algorithm,
            "inner_lr": own.inner_lr,
            "inner_steps": steps.get(algorithm, own.inner_steps),
            "adapt_steps": budget,
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
