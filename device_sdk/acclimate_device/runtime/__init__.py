"""Loads bundles and runs their graphs: numpy and one inference runtime, the `gateway` extra."""

from __future__ import annotations

from acclimate_device.runtime.closed_form import ClosedFormEngine, Seen
from acclimate_device.runtime.engine import Engine, Params
from acclimate_device.runtime.gradient import Batch, GradientEngine
from acclimate_device.runtime.loading import load_engine
from acclimate_device.runtime.normal import NormalEngine
from acclimate_device.runtime.session import row_error

__all__ = [
    "Batch",
    "ClosedFormEngine",
    "Engine",
    "GradientEngine",
    "NormalEngine",
    "Params",
    "Seen",
    "load_engine",
    "row_error",
]
