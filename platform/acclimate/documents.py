"""YAML documents of people: parsed strictly, changed by `a.b=value`, validated by a pydantic model.

Every mistake is named by its key, with the nearest known one as the remedy.
"""

from __future__ import annotations

import os
import re
import reprlib
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
_TAG = "tag:yaml.org,2002:"
_OTHERWISE = ("bool", "int", "float", "timestamp", "value")  # read in our own way, or not at all
_SHORT = reprlib.Repr()  # what is told of a wrong value: aliases of YAML make a gigabyte of a kilobyte
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20
_SHORT.maxlevel = 2


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
        document = mapping_of(self._text_of(name_or_path), f"{self._kind} {name_or_path}", self._error)
        for change in changes:
            self._apply(document, change)
        try:
            return model.model_validate(document)
        except ValidationError as error:
            problems = "\n  ".join(_problem(model, one) for one in error.errors())
            raise self._error(f"{self._kind} {name_or_path}:\n  {problems}") from error

    def shipped(self) -> dict[str, str]:
        """The text of each shipped document, by name."""
        files = {entry.name: entry for entry in self._shipped.iterdir() if entry.name.endswith(".yaml")}
        names = sorted(name.removesuffix(".yaml") for name in files)
        return {name: files[f"{name}.yaml"].read_text("utf-8") for name in names}

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
            return Path(name_or_path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            hint = did_you_mean(name_or_path, shipped, f"give a YAML file or one of {', '.join(shipped)}")
            why = error.strerror if isinstance(error, OSError) else error
            raise self._error(f"cannot read {self._kind} {name_or_path!r} ({why}): {hint}") from error

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
        at[last] = value_of(value, f"change {_SHORT.repr(change)}", self._error)


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
    """YAML that refuses a key given twice, and takes less for what it is not than YAML 1.1 does.

    Only `true` and `false` are booleans: `off` is text. So are days, and digits that begin with a zero or
    stand between colons: they are names of devices more often than dates, octal or sexagesimal numbers.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_TAG) not in _OTHERWISE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key, _ in node.value:
            if isinstance(key.value, str):  # others are refused below
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} appears twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


for _name, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)", "-+0123456789"),
    ("float", r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?", "-+0123456789"),
    ("float", r"\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))


def parse_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        yaml.YAMLError: it is none, a key appears twice, or a value is not what its tag says.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # PyYAML's constructors leave those
        raise yaml.YAMLError(f"a value does not read as what it seems to be ({error})") from error


def mapping_in(path: Path, error: type[AcclimateError]) -> dict[str, Any]:
    """The keys and values of a person's YAML file, unchecked.

    Raises:
        AcclimateError: of the kind given; it cannot be read, or maps no keys to values.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path} cannot be read as YAML: {problem}") from problem
    return mapping_of(text, str(path), error)


def value_of(text: str, origin: str, error: type[AcclimateError]) -> Any:
    """What a person's YAML says.

    Raises:
        AcclimateError: of the kind given; it is not YAML.
    """
    try:
        return parse_yaml(text)
    except yaml.YAMLError as problem:
        raise error(f"{origin} is not YAML: {problem}") from problem


def mapping_of(text: str, origin: str, error: type[AcclimateError]) -> dict[str, Any]:
    """The keys and values that a YAML text holds, unchecked.

    Raises:
        AcclimateError: of the kind given; it is not YAML, or maps no keys to values.
    """
    document = value_of(text, origin, error)
    if not isinstance(document, dict):
        holds = "nothing" if document is None else f"a {type(document).__name__}"
        raise error(f"{origin} holds {holds}: it must map keys to values")
    return document


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
    return f"{key} is {_SHORT.repr(error['input'])}: {message}"


def _section_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    section = model
    for name in location:
        if isinstance(name, int):
            continue  # an item of a list: its model was found with the list's key
        annotation: Any = section.model_fields[name].annotation
        candidates = (annotation, *get_args(annotation))
        section = next(one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel))
    return section
