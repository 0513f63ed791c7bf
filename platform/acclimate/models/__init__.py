"""Small networks that fit devices, and the user's own by import path."""

from acclimate.models.build import BUILDERS, build, parameters_of
from acclimate.models.network import Network
from acclimate.models.spectral import calibrate

__all__ = ["BUILDERS", "Network", "build", "calibrate", "parameters_of"]
