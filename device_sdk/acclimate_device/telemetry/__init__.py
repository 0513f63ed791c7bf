"""Reports that can be merged, and a queue on flash that keeps them until the service has them."""

from __future__ import annotations

from acclimate_device.telemetry.merge import merge_reports, merge_summaries
from acclimate_device.telemetry.queue import Batch, ReportQueue
from acclimate_device.telemetry.recorder import Recorder
from acclimate_device.telemetry.resources import resources
from acclimate_device.telemetry.sketch import FEWEST, Sketch, quantile
from acclimate_device.telemetry.told import moment, told

__all__ = [
    "FEWEST",
    "Batch",
    "Recorder",
    "ReportQueue",
    "Sketch",
    "merge_reports",
    "merge_summaries",
    "moment",
    "quantile",
    "resources",
    "told",
]
