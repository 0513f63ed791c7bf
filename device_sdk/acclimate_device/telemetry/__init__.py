"""Reports that can be merged, and a queue on flash that keeps them until the service has them."""

from __future__ import annotations

from acclimate_device.telemetry.merge import merge_reports, merge_summaries
from acclimate_device.telemetry.queue import ReportQueue, Segment
from acclimate_device.telemetry.sketch import Sketch, quantile
from acclimate_device.telemetry.window import Window

__all__ = ["ReportQueue", "Segment", "Sketch", "Window", "merge_reports", "merge_summaries", "quantile"]
