"""Names of metrics and parameters as MLflow takes them: strangers' columns and classes are in some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")
_REFUSED = re.compile(r"[^\w\-. :]+")
_LONGEST = 250


def as_keys(named: Mapping[str, Value]) -> dict[str, Value]:
    """`named` by keys that MLflow accepts: a `_` for what it refuses, and a number where two become one.

    A slash is refused too, for MLflow reads a name as a path and refuses those that have a shorter form.
    """
    keys: dict[str, Value] = {}
    for name, value in named.items():
        plain = _REFUSED.sub("_", name).strip(".")[:_LONGEST] or "_"
        key, number = plain, 2
        while key in keys:
            key, number = f"{plain[: _LONGEST - 8]} {number}", number + 1
        keys[key] = value
    return keys
