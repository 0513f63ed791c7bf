"""What gates compare: a statistic of the settled devices with its bounds and the evidence for harm.

Comparisons pair the i-th settled canary with the i-th settled control. Both arms were drawn at random and
settle by the same rule, so under "no difference" either member of a pair could have been the other. Adding a
device takes time that does not grow, but for quantiles, which keep values in order.
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

from acclimate.rollout.domain.evidence import Arm, Observation
from acclimate.rollout.domain.plan import Gate, Metric
from acclimate.rollout.domain.sequential import (
    PairSums,
    pairs_interval,
    pairs_log_e,
    quantile_ranks,
    rate_above_log_e,
    rate_interval,
)

Bounds = tuple[float, float]


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


class GateStatistic(ABC):
    """One gate's statistic over the devices that have settled.

    Attributes:
        gate: whose metric is taken.
        canary, control: sums by arm; of 0 and 1 for a rate.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.canary, self.control = ArmSums(), ArmSums()

    def add(self, observation: Observation) -> None:
        """Take in one settled device, if it has the metric."""
        value = metric_of(observation, self.gate.metric)
        if value is not None and math.isfinite(value):
            self._take(observation.arm, value)

    def estimate(self, arm: Arm) -> float | None:
        """The statistic in one arm; None without values."""
        return self._arm(arm).mean

    def log_e(self, alpha: float) -> float | None:
        """Log of the evidence for harm; None where the bounds decide instead."""
        return None

    @property
    @abstractmethod
    def margin(self) -> float:
        """Harm up to here is tolerated, in the unit of the bounds."""

    @abstractmethod
    def bounds(self, alpha: float) -> Bounds:
        """Of canary minus control, or of the canaries alone where the gate has a limit.

        They hold at all times with probability `1 - alpha`.
        """

    @abstractmethod
    def says(self, alpha: float) -> str:
        """What was seen, for people."""

    def proves_harm(self, alpha: float) -> bool:
        """Whether the gate rolls back: the part of its verdict that is looked at after every report."""
        log_e = self.log_e(alpha)
        return log_e is not None and log_e >= math.log(1 / alpha)

    def rules_out(self, bounds: Bounds, alpha: float) -> bool:
        """Whether harm beyond the margin is excluded."""
        return bounds[1] <= self.margin

    def _take(self, arm: Arm, value: float) -> None:
        self._arm(arm).add(value)

    def _arm(self, arm: Arm) -> ArmSums:
        return self.canary if arm == "canary" else self.control


class _Paired(GateStatistic):
    """A statistic that compares devices two by two, in the order in which they settle."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self._waiting: dict[Arm, deque[float]] = {"canary": deque(), "control": deque()}

    def _take(self, arm: Arm, value: float) -> None:
        super()._take(arm, value)
        self._waiting[arm].append(value)
        if all(self._waiting.values()):
            self._pair(self._waiting["canary"].popleft(), self._waiting["control"].popleft())

    @abstractmethod
    def _pair(self, canary: float, control: float) -> None: ...


class Mean(_Paired):
    """The difference of means; tolerated up to a share of control's standard deviation."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.pairs = PairSums()

    @property
    def margin(self) -> float:
        return self.gate.tolerance * self.control.deviation

    def bounds(self, alpha: float) -> Bounds:
        return pairs_interval(self.pairs, alpha)

    def log_e(self, alpha: float) -> float:
        return pairs_log_e(self.pairs, alpha)

    def rules_out(self, bounds: Bounds, alpha: float) -> bool:
        beyond = self.pairs.shifted(self.margin).mirrored()
        return pairs_log_e(beyond, alpha) >= math.log(1 / alpha) or not beyond.squares

    def says(self, alpha: float) -> str:
        difference = (self.canary.mean or 0.0) - (self.control.mean or 0.0)
        sign = f"{abs(difference):.4g} {'higher' if difference > 0 else 'lower'}"
        return f"mean {self.gate.metric} is {sign} than control's over {self.pairs.count} pairs"

    def _pair(self, canary: float, control: float) -> None:
        self.pairs = self.pairs.add(canary - control)


class Rate(_Paired):
    """The difference of the shares of devices with an event.

    Attributes:
        worse, better: pairs in which only the canary, or only the control, shows the event.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.worse = self.better = 0

    @property
    def margin(self) -> float:
        return self.gate.tolerance

    def bounds(self, alpha: float) -> Bounds:
        canary = rate_interval(round(self.canary.total), self.canary.count, alpha / 2)
        control = rate_interval(round(self.control.total), self.control.count, alpha / 2)
        return canary[0] - control[1], canary[1] - control[0]

    def log_e(self, alpha: float) -> float:
        # Pairs that differ are fair coins under the null: McNemar's test, made anytime-valid.
        return rate_above_log_e(self.worse, self.worse + self.better, 0.5)

    def says(self, alpha: float) -> str:
        canary, control = round(self.canary.total), round(self.control.total)
        arms = f"{canary} of {self.canary.count} canaries and {control} of {self.control.count} controls"
        return f"{self.gate.metric} at {arms}"

    def _pair(self, canary: float, control: float) -> None:
        self.worse += canary > control
        self.better += canary < control


class LimitedRate(GateStatistic):
    """The share of canaries with an event, against a limit."""

    @property
    def margin(self) -> float:
        return self.gate.limit or 0.0

    def bounds(self, alpha: float) -> Bounds:
        return rate_interval(round(self.canary.total), self.canary.count, alpha)

    def log_e(self, alpha: float) -> float:
        return rate_above_log_e(round(self.canary.total), self.canary.count, self.margin)

    def says(self, alpha: float) -> str:
        events = f"{round(self.canary.total)} of {self.canary.count} canaries"
        return f"{self.gate.metric} at {events}, limit {self.margin:g}"


class Quantile(GateStatistic):
    """The difference of a quantile, tolerated up to a share of control's; harm is proven when bands part."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self._ascending: dict[Arm, list[float]] = {"canary": [], "control": []}
        self._level = gate.quantile or 0.5

    def estimate(self, arm: Arm) -> float | None:
        values = self._ascending[arm]
        return values[int(self._level * len(values))] if values else None  # the level is below 1

    @property
    def margin(self) -> float:
        return self.gate.tolerance * (self.estimate("control") or 0.0)

    def bounds(self, alpha: float) -> Bounds:
        canary, control = self._band("canary", alpha / 2), self._band("control", alpha / 2)
        return canary[0] - control[1], canary[1] - control[0]

    def proves_harm(self, alpha: float) -> bool:
        return self._band("canary", alpha / 2)[0] > self._band("control", alpha / 2)[1]

    def says(self, alpha: float) -> str:
        canary, control = self._band("canary", alpha / 2), self._band("control", alpha / 2)
        theirs = f"control's between {control[0]:.4g} and {control[1]:.4g}"
        return f"{self.gate.name} lies between {canary[0]:.4g} and {canary[1]:.4g}, {theirs}"

    def _band(self, arm: Arm, alpha: float) -> Bounds:
        values: Sequence[float] = self._ascending[arm]
        lower, upper = quantile_ranks(len(values), self._level, alpha)
        return (
            values[lower - 1] if lower else -math.inf,
            values[upper - 1] if upper <= len(values) else math.inf,
        )

    def _take(self, arm: Arm, value: float) -> None:
        super()._take(arm, value)
        bisect.insort(self._ascending[arm], value)


class LimitedQuantile(Quantile):
    """A quantile of the canaries, against a limit."""

    @property
    def margin(self) -> float:
        return self.gate.limit or 0.0

    def bounds(self, alpha: float) -> Bounds:
        return self._band("canary", alpha)

    def proves_harm(self, alpha: float) -> bool:
        return self._band("canary", alpha)[0] > self.margin

    def says(self, alpha: float) -> str:
        low, high = self.bounds(alpha)
        return f"{self.gate.name} lies between {low:.4g} and {high:.4g}"


def statistic_of(gate: Gate) -> GateStatistic:
    """An empty statistic for a gate."""
    if gate.statistic == "mean":
        return Mean(gate)
    if gate.statistic == "rate":
        return Rate(gate) if gate.limit is None else LimitedRate(gate)
    return Quantile(gate) if gate.limit is None else LimitedQuantile(gate)


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
