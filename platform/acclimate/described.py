"""What a dataclass's docstring says of each of its fields, for reference pages and `--keys`."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from typing import Any


def described_fields(kind: type) -> list[tuple[str, str, str]]:
    """Name, default and meaning of each field; meanings are what stands under `Attributes:`."""
    told = _told(inspect.getdoc(kind) or "")
    return [(field.name, _default(field), told.get(field.name, "")) for field in dataclasses.fields(kind)]


def _told(text: str) -> dict[str, str]:
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in text.partition("Attributes:")[2].splitlines():
        if opened := re.match(r"    (\w[\w, ]*): (.*)", line):
            names = [name.strip() for name in opened[1].split(",")]
            meanings |= dict.fromkeys(names, opened[2])
        elif line.startswith("        "):
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return meanings


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "(required)"
    return repr(dict(value) if isinstance(value, types.MappingProxyType) else value)
