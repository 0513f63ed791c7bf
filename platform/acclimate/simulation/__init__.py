"""Fleets of the real device SDK on recorded streams, against the real rollout service.

`simulate(scenario)` runs a whole scenario with a service of its own. A program that tells a story in phases
takes a `Fleet` instead and lets time pass between what it does:

    world = ServedWorld(url, operator_token, root)
    equipment = Equipment(factory, world.root, world.connect, folder, enrolment_token, SharedEngines())
    with Fleet(scenario, open_streams(scenario.stream), equipment, world.clock, tell) as fleet:
        fleet.run(60)
        fleet.begin("arms")
    fleet.hand_in()
    outcome = fleet.outcome()
"""

from __future__ import annotations

from acclimate.simulation.device import Equipment, SharedEngines, SimulatedDevice
from acclimate.simulation.events import Happening
from acclimate.simulation.fleet import Fleet
from acclimate.simulation.microcontroller import Program
from acclimate.simulation.outcome import Detection, DeviceOutcome, Outcome, Window
from acclimate.simulation.publishing import next_version, sign_repository
from acclimate.simulation.scenario import Scenario
from acclimate.simulation.scenario_file import load_scenario, shipped_scenarios
from acclimate.simulation.served import HttpOperator, ServedWorld, ServiceProcess
from acclimate.simulation.simulate import factory_for, join, run, simulate
from acclimate.simulation.streams import open_streams
from acclimate.simulation.world import RolloutStatus, World

__all__ = [
    "Detection",
    "DeviceOutcome",
    "Equipment",
    "Fleet",
    "Happening",
    "HttpOperator",
    "Outcome",
    "Program",
    "RolloutStatus",
    "Scenario",
    "ServedWorld",
    "ServiceProcess",
    "SharedEngines",
    "SimulatedDevice",
    "Window",
    "World",
    "factory_for",
    "join",
    "load_scenario",
    "next_version",
    "open_streams",
    "run",
    "shipped_scenarios",
    "sign_repository",
    "simulate",
]
