"""What is normal on each device of a fleet: a prior from its windows, a threshold from a budget."""

from acclimate.anomaly.alarms import Budget
from acclimate.anomaly.fleet import FleetNormal, fit
from acclimate.anomaly.judge import METHODS, Judged, Method, judge
from acclimate.anomaly.windows import Devices

__all__ = ["METHODS", "Budget", "Devices", "FleetNormal", "Judged", "Method", "fit", "judge"]
