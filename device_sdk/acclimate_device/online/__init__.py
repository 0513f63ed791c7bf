"""Online learning on a device: `Device` and its policy."""

from __future__ import annotations

from acclimate_device.online.device import Device
from acclimate_device.online.forecaster import Forecaster
from acclimate_device.online.policy import OnlinePolicy
from acclimate_device.online.windows import Windows

__all__ = ["Device", "Forecaster", "OnlinePolicy", "Windows"]
