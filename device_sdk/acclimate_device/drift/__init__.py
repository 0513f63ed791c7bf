"""Drift detectors: one value at a time, interchangeable, about a microsecond each, standard library only.

Every detector is a `Detector`: `update(x)`, then read `drift_detected` and `warning_detected`. After a drift
the next update starts it afresh. Feed `PageHinkley` and `ADWIN` losses, `DDM` mistakes (0 or 1), and
`InputShift` the features of each input, which needs no labels.
"""

from __future__ import annotations

from acclimate_device.drift.adwin import ADWIN
from acclimate_device.drift.ddm import DDM
from acclimate_device.drift.detector import Detector
from acclimate_device.drift.input_shift import InputShift
from acclimate_device.drift.page_hinkley import PageHinkley

__all__ = ["ADWIN", "DDM", "Detector", "InputShift", "PageHinkley"]
