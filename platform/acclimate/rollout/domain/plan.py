"""What an operator asks for: which release, to whom, in which waves, and what must hold.

A plan is pinned when its rollout is created and never edited: another plan is another rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from acclimate.errors import RolloutError
from acclimate.rollout.domain.target import parse_target
from acclimate_device.protocol import LIMITS, Release

Metric = Literal["loss", "failure", "silence", "fallback", "drift", "latency"]
Statistic = Literal["mean", "rate", "quantile"]
METRICS: tuple[Metric, ...] = get_args(Metric)
MOST = 1e9
"""Of any size, count, weight or duration in a plan (31 years): more is a slip of the hand."""
RATES: tuple[Metric, ...] = ("failure", "silence", "fallback", "drift")


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition on what devices did with the release; the device is the statistical unit.

    Attributes:
        metric: `loss` (after adaptation), `latency` (ms a prediction), or the share of devices with a
            `failure`, `silence`, `fallback` or `drift`.
        tolerance: with `proof`, harm up to this size need not be ruled out: in control's standard deviations
            for a mean, as a difference of shares for a rate, as a fraction of control's for a quantile.
        limit: an absolute bound on a rate or a quantile, needing no control.
        quantile: compare this quantile instead of the mean, where tails matter.
        proof: promotion waits until harm beyond `tolerance` or `limit` is ruled out. Without it, promotion
            needs data and no proven harm. Proven harm of any size rolls back either way.
        weight: share of the rollout's error budget `alpha`, relative to the other gates.
    """

    metric: Metric
    tolerance: float = 0.0
    limit: float | None = None
    quantile: float | None = None
    proof: bool = False
    weight: float = 1.0

    @property
    def statistic(self) -> Statistic:
        """What is compared between the arms."""
        if self.metric in RATES:
            return "rate"
        return "mean" if self.quantile is None else "quantile"

    @property
    def name(self) -> str:
        """How people refer to it: `loss`, `loss p90`, `failure at most 0.05`."""
        name = self.metric if self.quantile is None else f"{self.metric} p{self.quantile * 100:g}"
        return name if self.limit is None else f"{name} at most {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Wave:
    """One widening of exposure.

    Attributes:
        share: cumulative share of the targeted devices that run the release, or
        count: cumulative number of devices, turned into a share when the wave opens.
        duration_s: shortest time the wave is watched before it may pass.
        timeout_s: after this long without a verdict the rollout is held for a person.
        min_devices: canaries of this wave that must have shown an outcome before it may pass.
        approval: a person says yes before the wave opens.
    """

    share: float | None = None
    count: int | None = None
    duration_s: float = 0.0
    timeout_s: float = 7 * 86_400.0
    min_devices: int = 1
    approval: bool = False

    def __str__(self) -> str:
        if self.count is None:
            return f"{(self.share or 0) * 100:g} %"
        return "1 device" if self.count == 1 else f"{self.count} devices"


@dataclass(frozen=True, slots=True)
class Plan:
    """One rollout as asked for.

    Attributes:
        fleet: the fleet's name.
        release: what to ship.
        target: attribute expression; empty means every device.
        waves: in order; shares rise; the last may reach 1. None at all: `default_waves` of the devices that
            are targeted when the rollout is drafted.
        gates: what must hold to promote, and what rolls back.
        control_share: at most this share of the targeted devices re-seeds from the old release instead, as
            many as there are canaries until then. 0 means no control: gates then need limits.
        alpha: chance, over the whole life of a rollout, that a release no worse than control is rolled back.
        soak_s: how long after taking its release a device is watched before its outcome is fixed.
        silence_s: a device that took the release and is not heard for this long counts as silent.
        min_examples: examples behind a device's post-adaptation loss before it counts.
        rollback_timeout_s: a roll back ends after this long even if some devices have not been heard.
    """

    fleet: str
    release: Release
    waves: tuple[Wave, ...]
    gates: tuple[Gate, ...]
    target: str = ""
    control_share: float = 0.1
    alpha: float = 0.05
    soak_s: float = 0.0
    silence_s: float = 86_400.0
    min_examples: int = 1
    rollback_timeout_s: float = 7 * 86_400.0


DEFAULT_GATES: tuple[Gate, ...] = (
    Gate("loss", tolerance=0.5, proof=True, weight=5.0),
    Gate("failure"),
    Gate("silence"),
    Gate("fallback"),
    Gate("drift"),
)
DEFAULT_WAVES: tuple[Wave, ...] = (
    Wave(share=0.01, duration_s=3_600.0, min_devices=20),
    Wave(share=0.1, duration_s=6 * 3_600.0, min_devices=20),
    Wave(share=0.5, duration_s=86_400.0, min_devices=20),
)
LEAST_CANARIES = 25
"""A default wave adds at least so many: 20 outcomes, and a fifth that may be away."""


def default_waves(devices: int) -> tuple[Wave, ...]:
    """The waves of a plan that names none, for so many targeted devices.

    1 %, 10 % and 50 % of the devices, where each adds enough canaries for its 20 outcomes. In a smaller fleet
    the first wave is 25 devices, and a later one that would add fewer than that is left out. Below 50 devices
    there is one wave, half of them, which needs the outcome of four in five. Nobody enrolled yet: as for a
    large fleet.
    """
    if not devices:
        return DEFAULT_WAVES
    if devices < 2 * LEAST_CANARIES:
        half = max(1, devices // 2)
        return (Wave(count=half, duration_s=86_400.0, min_devices=max(1, half * 4 // 5)),)
    waves: list[Wave] = []
    reached = 0.0
    for wave in DEFAULT_WAVES:
        size = (wave.share or 0.0) * devices
        if not waves and size < LEAST_CANARIES:
            size, wave = LEAST_CANARIES, replace(wave, share=None, count=LEAST_CANARIES)
        if size - reached >= LEAST_CANARIES:
            waves.append(wave)
            reached = size
    return tuple(waves)


def check_plan(plan: Plan) -> Plan:
    """Return `plan` if it makes sense.

    Raises:
        RolloutError: naming the part that does not, its value and what would.
    """
    parse_target(plan.target)
    _require(bool(plan.waves), "a plan needs at least one wave: add one, for example share: 0.01")
    _require(bool(plan.gates), "a plan needs at least one gate: add one, for example metric: loss")
    _require(
        0 <= plan.control_share <= 0.5, f"control_share is {plan.control_share:g}: use a number from 0 to 0.5"
    )
    _require(0 < plan.alpha < 0.5, f"alpha is {plan.alpha:g}: use a probability such as 0.05")
    for name in ("soak_s", "silence_s", "rollback_timeout_s"):
        _require_duration(name, getattr(plan, name))
    _require(plan.silence_s > plan.soak_s, "silence_s must be longer than soak_s: devices report after it")
    _require(1 <= plan.min_examples <= MOST, f"min_examples is {plan.min_examples}: use 1 or more")
    _check_waves(plan)
    names = [gate.name for gate in plan.gates]
    _require(len(set(names)) == len(names), f"gates repeat ({', '.join(names)}): keep one of each")
    for gate in plan.gates:
        _check_gate(gate, plan)
    return plan


def gate_alpha(plan: Plan, gate: Gate) -> float:
    """The gate's part of `alpha`: shares add up, so the rollout as a whole keeps its promise (Bonferroni)."""
    return plan.alpha * gate.weight / sum(other.weight for other in plan.gates)


def _check_waves(plan: Plan) -> None:
    previous: Wave | None = None
    for number, wave in enumerate(plan.waves, start=1):
        where = f"wave {number}"
        _require((wave.share is None) != (wave.count is None), f"{where} needs either a share or a count")
        if wave.share is not None:
            _require(0 < wave.share <= 1, f"{where} has share {wave.share:g}: use a number above 0, up to 1")
        if wave.count is not None:
            _require(1 <= wave.count <= MOST, f"{where} has count {wave.count}: use 1 or more")
        _require_duration(f"duration_s of {where}", wave.duration_s)
        _require_duration(f"timeout_s of {where}", wave.timeout_s)
        _require(
            wave.timeout_s >= wave.duration_s,
            f"{where} times out after {wave.timeout_s:g} s, before its {wave.duration_s:g} s are over",
        )
        _require(
            1 <= wave.min_devices <= MOST,
            f"min_devices of {where} is {wave.min_devices}: no data never passes",
        )
        if previous is not None:
            for size in ("share", "count"):
                before, after = getattr(previous, size), getattr(wave, size)
                _require(
                    before is None or after is None or before < after,
                    f"{where} is not larger than the wave before it ({wave} after {previous})",
                )
        previous = wave


def _check_gate(gate: Gate, plan: Plan) -> None:
    where = f"gate {gate.name}"
    _require(gate.metric in METRICS, f"{gate.metric!r} is no metric: use one of {', '.join(METRICS)}")
    _require(0 <= gate.tolerance <= MOST, f"{where}: tolerance must be 0 or more, at most {MOST:g}")
    _require(1 / MOST <= gate.weight <= MOST, f"{where}: weight must be above 0, at most {MOST:g}")
    if gate.quantile is not None:
        _require(gate.statistic == "quantile", f"{where}: a rate has no quantile: leave it out")
        _require(0 < gate.quantile < 1, f"{where}: quantile is {gate.quantile:g}: use a number such as 0.9")
    if gate.limit is not None:
        _require(gate.statistic != "mean", f"{where}: a mean takes no limit: add quantile: 0.5 to bound it")
        _require(abs(gate.limit) <= LIMITS.number, f"{where}: limit must be a finite number")
        _require(gate.statistic != "rate" or 0 < gate.limit < 1, f"{where}: limit of a rate lies in (0, 1)")
    else:
        _require(
            plan.control_share > 0,
            f"{where} compares with control, but control_share is 0: give it a limit or allow a control",
        )
        _require(
            not gate.proof or gate.tolerance > 0,
            f"{where}: proof needs a tolerance above 0, as equality can never be proven",
        )


def _require_duration(name: str, value: float) -> None:
    _require(0 <= value <= MOST, f"{name} is {value:g}: use seconds, from 0 to {MOST:g}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise RolloutError(message)
