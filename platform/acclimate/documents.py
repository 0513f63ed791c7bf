"""YAML documents of people: parsed strictly, changed by `a.b=value`, validated by a pydantic model.

Every mistake is named by its key, with the nearest known one as the remedy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from acclimate.errors import AcclimateError
from acclimate.nearest import did_you_mean

Model = TypeVar("Model", bound=BaseModel)
_BOOLEAN = "tag:yaml.org,2002:bool"


class Documents:
    """Documents of one kind: by path, or by the name of one shipped inside the package.

    Args:
        kind: what people call one, such as `recipe`.
        shipped: the folder of the shipped ones, `<name>.yaml`.
        error: raised for every mistake.
    """

    def __init__(self, kind: str, shipped: Traversable, error: type[AcclimateError]) -> None:
        self._kind, self._shipped, self._error = kind, shipped, error

    def load(self, model: type[Model], name_or_path: str, changes: Sequence[str] = ()) -> Model:
        """The validated document in a file, in a variable (`env:NAME`) or shipped, with `changes` applied."""
        document = self._parse(self._text_of(name_or_path), name_or_path)
        for change in changes:
            self._apply(document, change)
        try:
            return model.model_validate(document)
        except ValidationError as error:
            problems = "\n  ".join(_problem(model, one) for one in error.errors())
            raise self._error(f"{self._kind} {name_or_path}:\n  {problems}") from error

    def shipped(self) -> dict[str, str]:
        """The text of each shipped document, by name."""
        return {
            entry.name.removesuffix(".yaml"): entry.read_text()
            for entry in sorted(self._shipped.iterdir(), key=lambda entry: entry.name)
            if entry.name.endswith(".yaml")
        }

    def _text_of(self, name_or_path: str) -> str:
        variable = name_or_path.removeprefix("env:")
        if variable != name_or_path:
            if variable not in os.environ:
                raise self._error(f"{self._kind} {name_or_path}: the environment has no {variable!r}")
            return os.environ[variable]
        shipped = self.shipped()
        if name_or_path in shipped:
            return shipped[name_or_path]
        try:
            return Path(name_or_path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise self._error(
                f"cannot read {self._kind} {name_or_path!r} ({error}): give a YAML file or one of "
                f"{', '.join(shipped)}"
            ) from error

    def _parse(self, text: str, origin: str) -> dict[str, Any]:
        try:
            document = parse_yaml(text)
        except yaml.YAMLError as error:
            raise self._error(f"{self._kind} {origin} is not YAML: {error}") from error
        if not isinstance(document, dict):
            raise self._error(
                f"{self._kind} {origin} holds a {type(document).__name__}: it must map keys to values"
            )
        return document

    def _apply(self, document: dict[str, Any], change: str) -> None:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise self._error(f"change {change!r} is not KEY=VALUE: for example seed=1")
        *sections, last = key.split(".")
        at = document
        for section in sections:
            at = at.setdefault(section, {})
            if not isinstance(at, dict):
                raise self._error(f"change {change!r}: {section!r} is no section of the {self._kind}")
        try:
            at[last] = parse_yaml(value)
        except yaml.YAMLError as error:
            raise self._error(f"change {change!r} is not YAML: {error}") from error


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key with its default and meaning, in the document's order; of a list's items as `list[].key`."""
    for name, field in model.model_fields.items():
        chosen = [one for one in get_args(field.annotation) if _is_section(one)]
        items = get_args(field.annotation) if get_origin(field.annotation) is tuple else ()
        if _is_section(field.annotation):
            yield from keys_of(field.annotation, f"{prefix}{name}.")
        elif items and _is_section(items[0]):
            yield from keys_of(items[0], f"{prefix}{name}[].")
        elif chosen:  # a section that may be left out
            yield from keys_of(chosen[0], f"{prefix}{name}.")
        else:
            default = "(required)" if field.is_required() else str(field.default)
            yield f"{prefix}{name}", default, _meaning(field)


def _is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _meaning(field: FieldInfo) -> str:
    """The field's description, and the choices that it does not name."""
    said = field.description or ""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if all(f"`{choice}`" in said for choice in choices):
        return said
    return f"{said}; one of {', '.join(f'`{choice}`' for choice in choices)}"


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, and takes only `true` and `false` for booleans: `off` is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} appears twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_BOOLEAN, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def parse_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        yaml.YAMLError: it is none, or a key appears twice.
    """
    return yaml.load(text, Loader=_Loader)


def _problem(model: type[BaseModel], error: ErrorDetails) -> str:
    location, message = error["loc"], error["msg"].removeprefix("Value error, ")
    key = ".".join(map(str, location))
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        known = list(_section_at(model, location[:-1]).model_fields)
        hint = did_you_mean(str(location[-1]), known, f"known are {', '.join(known)}")
        return f"unknown key {key!r}: {hint}"
    if not location:
        return message
    return f"{key} is {error['input']!r}: {message}"


def _section_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    section = model
    for name in location:
        if isinstance(name, int):
            continue  # an item of a list: its model was found with the list's key
        annotation: Any = section.model_fields[name].annotation
        candidates = (annotation, *get_args(annotation))
        section = next(one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel))
    return section
