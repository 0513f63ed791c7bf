"""Running sums over settled devices, one tally a gate. Adding a device takes time that does not grow.

Comparisons pair the i-th settled canary with the i-th settled control. Both arms were drawn at random and
settle by the same rule, so under "no difference" either member of a pair could have been the other.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter, deque
from collections.abc import Iterable

from acclimate.rollout.domain.evidence import Arm, Observation
from acclimate.rollout.domain.plan import Gate, Metric, Plan
from acclimate.rollout.domain.sequential import PairSums


class ArmSums:
    """Number, sum and sum of squares of one arm's values."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        """Take one value in."""
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self.total / self.count if self.count else None

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 below two values."""
        if self.count < 2:
            return 0.0
        excess = self.squares - self.total * self.total / self.count  # `**` raises where `*` gives infinity
        return math.sqrt(max(0.0, excess) / (self.count - 1))


class GateTally:
    """One metric of the settled devices, by arm and in pairs.

    Attributes:
        canary, control: sums by arm; of 0 and 1 for a rate.
        pairs: differences canary minus control.
        worse, better: pairs in which only the canary, or only the control, shows a rate's event.
        canary_values, control_values: sorted; kept for quantiles alone.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.canary, self.control = ArmSums(), ArmSums()
        self.pairs = PairSums()
        self.worse = self.better = 0
        self.canary_values: list[float] = []
        self.control_values: list[float] = []
        self._waiting: dict[Arm, deque[float]] = {"canary": deque(), "control": deque()}

    def add(self, observation: Observation) -> None:
        """Take in one settled device, if it has the metric."""
        value = metric_of(observation, self.gate.metric)
        if value is None or not math.isfinite(value):
            return
        (self.canary if observation.arm == "canary" else self.control).add(value)
        if self.gate.statistic == "quantile":
            values = self.canary_values if observation.arm == "canary" else self.control_values
            bisect.insort(values, value)
        self._waiting[observation.arm].append(value)
        if all(self._waiting.values()):
            self._pair(self._waiting["canary"].popleft(), self._waiting["control"].popleft())

    def _pair(self, canary: float, control: float) -> None:
        self.pairs = self.pairs.add(canary - control)
        self.worse += canary > control
        self.better += canary < control


class Tally:
    """All gates of one rollout, and how many canaries of each wave have settled."""

    def __init__(self, plan: Plan, observations: Iterable[Observation] = ()) -> None:
        self.gates = [GateTally(gate) for gate in plan.gates]
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


def metric_of(observation: Observation, metric: Metric) -> float | None:
    """A settled device's value of a metric; None where it has none.

    A device that failed or fell silent counts for `failure` and `silence` alone: what it showed before would
    speak for devices that still run.
    """
    if metric == "silence":
        return float(observation.silence)
    if metric == "failure":
        return None if observation.silence else float(observation.failure)
    if observation.failure or observation.silence:
        return None
    if metric == "loss":
        return observation.loss
    if metric == "latency":
        return observation.latency_ms
    return float(observation.drift if metric == "drift" else observation.fallback)
