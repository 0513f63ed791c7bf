"""The dataclasses of a package, for what must hold of each."""

import dataclasses
import importlib
import pkgutil
from types import ModuleType
from typing import Any


def values_of(package: ModuleType) -> list[Any]:
    """Every dataclass that a module of a package defines."""
    names = [found.name for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    defined = [(name, value) for name in names for value in vars(importlib.import_module(name)).values()]
    return [value for name, value in defined if dataclasses.is_dataclass(value) and value.__module__ == name]
