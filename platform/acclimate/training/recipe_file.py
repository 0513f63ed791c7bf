"""Recipes as YAML: by path or shipped name, with every mistake named by its key and line of remedy."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from acclimate.errors import RecipeError
from acclimate.training.recipe import Recipe

_SHIPPED = resources.files("acclimate") / "recipes"


def load_recipe(name_or_path: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, or the shipped one of that name, with `a.b=value` changes applied.

    Raises:
        RecipeError: no such recipe, no YAML, an unknown key, or a value that does not fit.
    """
    document = _parse(_text_of(name_or_path), name_or_path)
    for change in changes:
        _apply(document, change)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = "\n  ".join(map(_problem, error.errors()))
        raise RecipeError(f"recipe {name_or_path}:\n  {problems}") from error


def shipped_recipes() -> dict[str, str]:
    """The text of each recipe inside the package, by name."""
    return {
        entry.name.removesuffix(".yaml"): entry.read_text()
        for entry in sorted(_SHIPPED.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def recipe_keys() -> list[tuple[str, str, str]]:
    """Every key with its default and meaning, in the order of a recipe."""
    return list(_keys(Recipe, ""))


def to_yaml(recipe: Recipe) -> str:
    """The recipe with every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _text_of(name_or_path: str) -> str:
    shipped = shipped_recipes()
    if name_or_path in shipped:
        return shipped[name_or_path]
    try:
        return Path(name_or_path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot read recipe {name_or_path!r} ({error}): give a YAML file or one of {', '.join(shipped)}"
        ) from error


class _Loader(yaml.SafeLoader):
    """YAML without its habit of keeping the last of two equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} appears twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {origin} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise RecipeError(f"recipe {origin} holds a {type(document).__name__}: it must map keys to values")
    return document


def _apply(document: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise RecipeError(f"change {change!r} is not KEY=VALUE: for example training.steps=200")
    *sections, last = key.split(".")
    at = document
    for section in sections:
        at = at.setdefault(section, {})
        if not isinstance(at, dict):
            raise RecipeError(f"change {change!r}: {section!r} is no section of the recipe")
    try:
        at[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"change {change!r} is not YAML: {error}") from error


def _problem(error: ErrorDetails) -> str:
    location, message = error["loc"], error["msg"].removeprefix("Value error, ")
    key = ".".join(map(str, location))
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        known = list(_section_at(location[:-1]).model_fields)
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown key {key!r}: {hint}known are {', '.join(known)}"
    if not location:
        return message
    return f"{key} is {error['input']!r}: {message}"


def _section_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    section: type[BaseModel] = Recipe
    for name in location:
        annotation = section.model_fields[str(name)].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        section = annotation
    return section


def _keys(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, f"{prefix}{name}.")
        else:
            default = "(required)" if field.is_required() else str(field.default)
            yield f"{prefix}{name}", default, field.description or ""
