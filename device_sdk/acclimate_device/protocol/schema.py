"""JSON Schema (draft 2020-12) from the same declarations the reader is compiled from."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from acclimate_device.protocol.codec import USUAL, Items, Number, Text, fields, plain


def json_schema(kind: type[Any]) -> dict[str, Any]:
    """The schema of a message, for readers in other languages and for OpenAPI."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": kind.__name__, **_schema(kind)}


_SCALAR_SCHEMAS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
}


def _schema(annotation: Any) -> dict[str, Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        base = _SCALAR_SCHEMAS.get(arguments[0]) or _schema(arguments[0])
        return base | _bound_schema(arguments[1], array=get_origin(arguments[0]) is tuple)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(argument) for argument in arguments]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is tuple:
        count = len(arguments)
        return {
            "type": "array",
            "prefixItems": [_schema(argument) for argument in arguments],
            "minItems": count,
            "maxItems": count,
        }
    if origin is Mapping:
        keys, values = (_schema(argument) for argument in arguments)
        return {"type": "object", "propertyNames": keys, "additionalProperties": values}
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _dataclass_schema(annotation)
    usual = USUAL.get(annotation)
    return _SCALAR_SCHEMAS[annotation] | (_bound_schema(usual, array=False) if usual else {})


def _dataclass_schema(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    properties = {}
    for name, default in fields(kind):
        properties[name] = _schema(hints[name])
        if default is not dataclasses.MISSING:
            properties[name]["default"] = plain(default)
    return {
        "description": (kind.__doc__ or "").strip().splitlines()[0],
        "type": "object",
        "properties": properties,
        "required": [name for name, default in fields(kind) if default is dataclasses.MISSING],
    }


def _bound_schema(bound: Text | Number | Items, array: bool) -> dict[str, Any]:
    if isinstance(bound, Text):
        pattern = {"pattern": f"^(?:{bound.pattern})$"} if bound.pattern else {}
        return {"maxLength": bound.max_length, **pattern}
    if isinstance(bound, Number):
        return {"minimum": bound.minimum, "maximum": bound.maximum}
    return {"maxItems" if array else "maxProperties": bound.maximum}
