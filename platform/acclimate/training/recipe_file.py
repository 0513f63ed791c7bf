"""Recipes as YAML: by path or shipped name, with every mistake named by its key and line of remedy."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import yaml

from acclimate.described import described_fields
from acclimate.documents import Documents, keys_of
from acclimate.errors import RecipeError
from acclimate.tasks import RecordingSchema
from acclimate.training.recipe import Recipe

_RECIPES = Documents("recipe", resources.files("acclimate") / "recipes", RecipeError)


def load_recipe(name_or_path: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, in a variable (`env:NAME`) or shipped under that name, with `a.b=value` changes.

    Raises:
        RecipeError: no such recipe, no YAML, an unknown key, or a value that does not fit.
    """
    return _RECIPES.load(Recipe, name_or_path, changes)


def shipped_recipes() -> dict[str, str]:
    """The text of each recipe inside the package, by name."""
    return _RECIPES.shipped()


def recipe_keys() -> list[tuple[str, str, str]]:
    """Every key with its default and meaning, in the order of a recipe."""
    rows = list(keys_of(Recipe))
    after = next(index for index, row in enumerate(rows) if row[0] == "data.recordings") + 1
    columns = [
        (f"data.recordings.{name}", default, meaning)
        for name, default, meaning in described_fields(RecordingSchema)
    ]
    return [*rows[:after], *columns, *rows[after:]]


def to_yaml(recipe: Recipe) -> str:
    """The recipe with every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
