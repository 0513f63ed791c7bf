"""The extremes of every field of a message, from the message's own JSON schema.

A field added to the protocol is covered the day it is added. `good` values lie on the schema's edge, `bad`
ones just beyond it.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from acclimate_device.protocol import json_schema

Path = tuple[Any, ...]
TEXTS = ("", "0", "a", "A", "\U0001f600", "é", "<script>'\"&%s{}\\", "=")


@dataclass(frozen=True)
class Field:
    """One leaf of a schema, where it lies in a sample, and what may and may not stand there."""

    path: Path
    good: tuple[Any, ...]
    bad: tuple[Any, ...]

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))


def sample(kind: type[object]) -> Any:
    """A message that fits, with every field there and one entry in every array and object."""
    return _sample(json_schema(kind))


def fields(kind: type[object]) -> list[Field]:
    """Every leaf of a message."""
    return list(_fields(json_schema(kind), ()))


def with_value(message: Any, path: Path, value: Any) -> Any:
    """A copy of `message` with one value in another's place."""
    changed = copy.deepcopy(message)
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return changed


def unbounded(kind: type[object]) -> list[str]:
    """Where a schema leaves a text, a number, an array or an object without bounds."""
    return [".".join(map(str, path)) for path, schema in _walk(json_schema(kind), ()) if not _bounded(schema)]


def _bounded(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    if kind == "string":
        return "maxLength" in schema
    if kind in ("number", "integer"):
        return {"minimum", "maximum"} <= schema.keys() and math.isfinite(schema["maximum"])
    if kind == "array":
        return "maxItems" in schema
    return kind != "object" or "properties" in schema or {"maxProperties", "propertyNames"} <= schema.keys()


def _walk(schema: dict[str, Any], path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from _walk(part, (*path, name))
    parts = [*schema.get("prefixItems", []), *schema.get("anyOf", [])]
    parts += [schema[key] for key in ("items", "additionalProperties", "propertyNames") if key in schema]
    for number, part in enumerate(parts):
        yield from _walk(part, (*path, number))


def _sample(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0])
    kind = schema["type"]
    if kind == "object" and "properties" in schema:
        return {name: _sample(part) for name, part in schema["properties"].items()}
    if kind == "object":
        return {_texts(schema["propertyNames"])[0]: _sample(schema["additionalProperties"])}
    if "prefixItems" in schema:
        return [_sample(part) for part in schema["prefixItems"]]
    if kind == "array":
        return [_sample(schema["items"])]
    if kind == "string":
        return _texts(schema)[0]
    return {"boolean": True, "null": None}.get(kind, schema.get("minimum"))


def _fields(schema: dict[str, Any], path: Path) -> Iterator[Field]:
    if "anyOf" in schema:
        parts = [field for part in schema["anyOf"] for field in _fields(part, path)]
        direct = [field for field in parts if field.path == path]
        yield from (field for field in parts if field.path != path)
        if direct:
            yield Field(path, tuple(value for field in direct for value in field.good), ())
    elif "properties" in schema:
        for name, part in schema["properties"].items():
            yield from _fields(part, (*path, name))
    elif "prefixItems" in schema:
        for index, part in enumerate(schema["prefixItems"]):
            yield from _fields(part, (*path, index))
    elif schema.get("type") == "array":
        one = _sample(schema["items"])
        yield Field(path, ([], [one]), ([one] * (schema["maxItems"] + 1), {}, "x"))
        yield from _fields(schema["items"], (*path, 0))
    elif schema.get("type") == "object":
        yield from _object(schema, path)
    else:
        yield Field(path, tuple(_good(schema)), tuple(_bad(schema)))


def _object(schema: dict[str, Any], path: Path) -> Iterator[Field]:
    value, key = _sample(schema["additionalProperties"]), _texts(schema["propertyNames"])[0]
    many = {_numbered(schema["propertyNames"], index): value for index in range(schema["maxProperties"] + 1)}
    most = dict(list(many.items())[:-1])
    keys = [{text: value} for text in _texts(schema["propertyNames"])]
    bad = [{text: value} for text in _bad(schema["propertyNames"]) if isinstance(text, str)]
    yield Field(path, ({}, most, *keys), (many, *bad, []))
    yield from _fields(schema["additionalProperties"], (*path, key))


def _numbered(schema: dict[str, Any], index: int) -> str:
    return f"key{index}"


def _good(schema: dict[str, Any]) -> list[Any]:
    if "enum" in schema:
        return list(schema["enum"])
    kind = schema["type"]
    if kind == "string":
        return _texts(schema)
    if kind == "boolean":
        return [True, False]
    if kind == "null":
        return [None]
    return [schema["minimum"], schema["maximum"]]


def _bad(schema: dict[str, Any]) -> list[Any]:
    if "enum" in schema:
        return ["no such", -1, None, []]
    kind = schema["type"]
    if kind == "string":
        most = schema["maxLength"]
        return ["0" * (most + 1), "a" * (most + 1), "nul\x00", "half \ud800", 1, True, None, []]
    if kind == "boolean":
        return [0, 1, "true"]
    if kind == "null":
        return [0, ""]
    step = 1 if kind == "integer" else max(1.0, abs(schema["maximum"]) * 1e-9)
    beyond = [schema["minimum"] - step, schema["maximum"] + step, 1.7e308, -1.7e308, 2**53, 10**30]
    outside = [one for one in beyond if not schema["minimum"] <= one <= schema["maximum"]]
    return [*outside, True, False, "1", None, []]


def _texts(schema: dict[str, Any]) -> list[str]:
    """The longest texts that fit, of several kinds, and the shortest."""
    most, pattern = schema["maxLength"], re.compile(schema.get("pattern", ""), re.DOTALL)
    found = []
    for text in TEXTS:
        repeated = (text * most)[:most] if text else ""
        padded = [repeated[: -len(end)] + end for end in ("=", "==") if repeated]
        for candidate in (repeated, *padded, text):
            if pattern.search(candidate) and candidate not in found:
                found.append(candidate)
    return sorted(found, key=len, reverse=True)
