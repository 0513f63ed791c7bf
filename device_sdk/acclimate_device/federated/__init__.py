"""What a device gives to a campaign: sums over its own examples, or how far they would move the start.

Pure functions, the same for a device, for a gateway that speaks for microcontrollers, and for the platform's
simulation.
"""

from acclimate_device.federated.fixed_point import FixedPoint
from acclimate_device.federated.statistics import LEAST_EXAMPLES, moments, moments_size, unpacked
from acclimate_device.federated.update import LEAST_BATCH, client_update, clipped

__all__ = [
    "LEAST_BATCH",
    "LEAST_EXAMPLES",
    "FixedPoint",
    "client_update",
    "clipped",
    "moments",
    "moments_size",
    "unpacked",
]
