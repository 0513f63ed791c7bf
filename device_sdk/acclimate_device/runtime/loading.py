"""From a bundle to the engine of its kind."""

from __future__ import annotations

from acclimate_device.bundle import Bundle
from acclimate_device.protocol import ClosedForm, NormalWindows
from acclimate_device.runtime.closed_form import ClosedFormEngine
from acclimate_device.runtime.engine import Engine
from acclimate_device.runtime.gradient import GradientEngine
from acclimate_device.runtime.normal import NormalEngine


def load_engine(bundle: Bundle, like: Engine | None = None) -> Engine:
    """The engine of a bundle.

    Args:
        bundle: whose hashes hold.
        like: an engine whose sessions are used again if its graphs are the same bytes.

    Raises:
        BundleError: a graph does not load, takes or gives other tensors than the protocol says, or does not
            compute what the sanity vector says.
    """
    if isinstance(bundle.manifest.adaptation, ClosedForm):
        return ClosedFormEngine(bundle, like if isinstance(like, ClosedFormEngine) else None)
    if isinstance(bundle.manifest.adaptation, NormalWindows):
        return NormalEngine(bundle, like if isinstance(like, NormalEngine) else None)
    return GradientEngine(bundle, like if isinstance(like, GradientEngine) else None)
