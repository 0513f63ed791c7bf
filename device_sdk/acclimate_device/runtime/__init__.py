"""Loads bundles and runs their graphs: numpy and one inference runtime, the `gateway` extra."""

from __future__ import annotations

from acclimate_device.runtime.engine import Batch, Engine, Params

__all__ = ["Batch", "Engine", "Params"]
