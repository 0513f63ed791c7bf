"""Everything needed to test an application, or a fleet, against this SDK without hardware or network.

* `tiny_bundle()`: a real bundle of 10 KB, meta-trained on `GestureDevice` streams.
* `SimulatedFlash`: loses what was not synced when its power is cut, at any call you choose.
* `SimulatedRepository` (in `.repository`): a signed TUF repository in memory, to tamper with.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

from acclimate_device.protocol import CLOSED_FORM_FILES, FILES, MANIFEST
from acclimate_device.testing.flash import TORN, PowerCutError, SimulatedFlash
from acclimate_device.testing.gestures import GestureDevice

__all__ = ["TORN", "GestureDevice", "PowerCutError", "SimulatedFlash", "tiny_bundle"]


def tiny_bundle(kind: Literal["gradient", "closed-form"] = "gradient") -> dict[str, bytes]:
    """The files of the bundle `gestures/1`, by name: `Device(tiny_bundle().get, flash)`.

    Args:
        kind: how it adapts.
    """
    folder = files(__name__) / ("bundle" if kind == "gradient" else "closed_form_bundle")
    names = FILES if kind == "gradient" else CLOSED_FORM_FILES
    return {name: (folder / name).read_bytes() for name in (MANIFEST, *names)}
