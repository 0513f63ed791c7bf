"""What a loaded bundle does, whatever the kind of its adaptation.

Parameters go in and come out; nothing is changed in place. That is what makes swapping safe: whoever holds a
set of parameters holds all of it, for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acclimate_device.protocol import Manifest

Float = NDArray[np.float32]
Params = Mapping[str, Float]
"""Everything that predicts, by name: `param.<name>`, and `state.<name>` of heads in closed form."""


class Engine(Protocol):
    """One bundle, ready to run."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def start(self) -> Params:
        """What predicts before any label."""

    @property
    def moving(self) -> tuple[str, ...]:
        """The names among `start` that adaptation changes."""

    def outputs(self, params: Params, x: Float) -> Float:
        """Raw outputs (n, width) for normalized inputs (n, *shape)."""
