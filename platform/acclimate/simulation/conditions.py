"""What one device has to live with, drawn once from (seed, device): the same every time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from acclimate.simulation.scenario import DriftSection, FaultSection, Scenario


@dataclass(frozen=True)
class Conditions:
    """One device's lot.

    Attributes:
        arrives_s: seconds after the start at which it is switched on for the first time.
        offline: whether it has spells without network.
        skew_s, rate: its clock shows `true * rate + skew`, counted from the start.
        drifts, faults: those that happen to it.
        microcontroller: whether it is the C runtime behind a gateway.
    """

    arrives_s: float
    offline: bool
    skew_s: float
    rate: float
    drifts: tuple[DriftSection, ...]
    faults: tuple[FaultSection, ...]
    microcontroller: bool


def dice(seed: int, device: int, purpose: str) -> random.Random:
    """Randomness for one purpose of one device; no purpose shifts another's numbers."""
    return random.Random(f"{seed}/{device}/{purpose}")


def conditions(scenario: Scenario, device: int) -> Conditions:
    """The conditions of device number `device`."""
    rng = dice(scenario.seed, device, "conditions")
    place = rng.random() if scenario.arrivals.pattern == "random" else device / scenario.devices
    share = scenario.microcontrollers
    offline, skew, drift = rng.random(), rng.gauss(0.0, 1.0), rng.gauss(0.0, 1.0)
    return Conditions(
        arrives_s=place * scenario.arrivals.over,
        offline=offline < scenario.offline.share,
        skew_s=skew * scenario.clocks.skew,
        rate=1.0 + drift * scenario.clocks.drift_ppm * 1e-6,
        drifts=tuple(
            one for one in scenario.drifts if dice(scenario.seed, device, one.name).random() < one.share
        ),
        faults=tuple(
            one
            for place, one in enumerate(scenario.faults)
            if dice(scenario.seed, device, f"fault {place}").random() < one.share
        ),
        microcontroller=int((device + 1) * share + 1e-9) > int(device * share + 1e-9),
    )


def spells(scenario: Scenario, rng: random.Random) -> Iterator[float]:
    """Lengths of the times online and offline, in turn."""
    while True:
        yield rng.expovariate(1.0 / scenario.offline.every)
        yield rng.expovariate(1.0 / scenario.offline.lasts)
