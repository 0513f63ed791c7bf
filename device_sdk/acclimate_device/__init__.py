"""The device half of Acclimate: adapt a meta-learned initialization online, notice drift, report back.

from acclimate_device import Device

with Device.open("bundle", state="state") as device:
    label = device.predict_one(x)
    device.learn_one(x, y)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acclimate_device.errors import ConfigError, DeviceError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from acclimate_device.online import Device, Forecaster, OnlinePolicy, Windows

__all__ = ["Device", "DeviceError", "Forecaster", "OnlinePolicy", "Windows", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads numpy and the inference runtime only for those who run a model."""
    if name not in ("Device", "Forecaster", "OnlinePolicy", "Windows"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from acclimate_device import online
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{name} needs {error.name}, which is not installed: pip install 'acclimate-device[gateway]'"
        ) from None
    return getattr(online, name)
