"""Small networks that fit devices, and the user's own by import path."""

from acclimate.models.build import BUILDERS, build, calibrate, parameters_of
from acclimate.models.network import Network

__all__ = ["BUILDERS", "Network", "build", "calibrate", "parameters_of"]
