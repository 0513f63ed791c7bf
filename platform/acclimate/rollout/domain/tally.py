"""What a rollout's settled devices add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from acclimate.rollout.domain.evidence import Arm, Observation
from acclimate.rollout.domain.plan import Plan
from acclimate.rollout.domain.statistics import statistic_of


class Tally:
    """All gates of one rollout, and how many devices of each arm and wave have settled."""

    def __init__(self, plan: Plan, observations: Iterable[Observation] = ()) -> None:
        self.gates = [statistic_of(gate) for gate in plan.gates]
        self.settled: Counter[tuple[Arm, int]] = Counter()
        for observation in observations:
            self.add(observation)

    def add(self, observation: Observation) -> None:
        """Take in one device that has settled; in the order of `Observation.order`."""
        if observation.order is None:
            return
        self.settled[observation.arm, observation.wave] += 1
        for gate in self.gates:
            gate.add(observation)
