"""From a tally to a gate's verdict with its evidence.

Harm is proven when the gate's e-process reaches 1 / alpha, or a quantile's bounds part. Nothing else rolls
back, and no gate passes without data from every arm that it compares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from acclimate.rollout.domain.evidence import GateEvidence, Observation, Verdict
from acclimate.rollout.domain.plan import Gate, Plan, gate_alpha
from acclimate.rollout.domain.sequential import (
    pairs_interval,
    pairs_log_e,
    quantile_ranks,
    rate_above_log_e,
    rate_interval,
)
from acclimate.rollout.domain.tally import GateTally, Tally


def judge(plan: Plan, tally: Tally) -> tuple[GateEvidence, ...]:
    """Every gate's verdict at this moment."""
    return tuple(judge_gate(gate, gate_alpha(plan, gate.gate)) for gate in tally.gates)


def judge_gate(tally: GateTally, alpha: float) -> GateEvidence:
    """One gate's verdict at error level `alpha`."""
    missing = _missing(tally)
    if missing:
        return _evidence(tally, alpha, Verdict.INCONCLUSIVE, missing)
    if tally.gate.limit is not None:
        return _limited(tally, alpha, tally.gate.limit)
    if tally.gate.statistic == "mean":
        return _mean(tally, alpha)
    if tally.gate.statistic == "rate":
        return _rate(tally, alpha)
    return _quantile(tally, alpha)


def proves_harm(tally: GateTally, alpha: float) -> bool:
    """Whether the gate rolls back: the part of its verdict that is looked at after every report."""
    log_e = _log_e(tally, alpha)
    return _quantile_parted(tally, alpha) if log_e is None else log_e >= math.log(1 / alpha)


def difference_band(
    plan: Plan, gate: Gate, observations: Sequence[Observation], points: int = 60
) -> list[GateEvidence]:
    """How a gate's evidence grew, at up to `points` moments: the line and band of a chart."""
    tally, alpha, band = GateTally(gate), gate_alpha(plan, gate), []
    settled = [observation for observation in observations if observation.order is not None]
    moments = {round((index + 1) * len(settled) / points) for index in range(points)}
    for number, observation in enumerate(settled, start=1):
        tally.add(observation)
        if number in moments:
            band.append(judge_gate(tally, alpha))
    return band


def _missing(tally: GateTally) -> str:
    if not tally.canary.count:
        return f"no canary has shown its {tally.gate.metric} yet"
    if tally.gate.limit is None and not tally.control.count:
        return f"no control device has shown its {tally.gate.metric} yet"
    return ""


def _mean(tally: GateTally, alpha: float) -> GateEvidence:
    margin = tally.gate.tolerance * tally.control.deviation
    beyond = tally.pairs.shifted(margin).mirrored()
    ruled_out = pairs_log_e(beyond, alpha) >= math.log(1 / alpha) or not beyond.squares
    difference = (tally.canary.mean or 0.0) - (tally.control.mean or 0.0)
    says = f"mean {tally.gate.metric} is {_sign(difference)} than control's over {tally.pairs.count} pairs"
    bounds = pairs_interval(tally.pairs, alpha)
    return _verdict(tally, alpha, bounds, ruled_out, says, margin)


def _rate(tally: GateTally, alpha: float) -> GateEvidence:
    canary = rate_interval(round(tally.canary.total), tally.canary.count, alpha / 2)
    control = rate_interval(round(tally.control.total), tally.control.count, alpha / 2)
    bounds = canary[0] - control[1], canary[1] - control[0]
    says, tolerance = f"{tally.gate.metric} at {_counts(tally)}", tally.gate.tolerance
    return _verdict(tally, alpha, bounds, bounds[1] <= tolerance, says, tolerance)


def _quantile(tally: GateTally, alpha: float) -> GateEvidence:
    level = tally.gate.quantile or 0.5
    canary = _quantile_bounds(tally.canary_values, level, alpha / 2)
    control = _quantile_bounds(tally.control_values, level, alpha / 2)
    bounds = canary[0] - control[1], canary[1] - control[0]
    margin = tally.gate.tolerance * (_quantile_of(tally.control_values, level) or 0.0)
    says = f"{tally.gate.name} lies between {canary[0]:.4g} and {canary[1]:.4g}, control's between "
    says += f"{control[0]:.4g} and {control[1]:.4g}"
    return _verdict(tally, alpha, bounds, bounds[1] <= margin, says, margin)


def _limited(tally: GateTally, alpha: float, limit: float) -> GateEvidence:
    if tally.gate.statistic == "rate":
        events, devices = round(tally.canary.total), tally.canary.count
        bounds = rate_interval(events, devices, alpha)
        says = f"{tally.gate.metric} at {events} of {devices} canaries, limit {limit:g}"
    else:
        bounds = _quantile_bounds(tally.canary_values, tally.gate.quantile or 0.5, alpha)
        says = f"{tally.gate.name} lies between {bounds[0]:.4g} and {bounds[1]:.4g}"
    return _verdict(tally, alpha, bounds, bounds[1] <= limit, says, limit)


def _verdict(
    tally: GateTally,
    alpha: float,
    bounds: tuple[float, float],
    ruled_out: bool,
    says: str,
    margin: float,
) -> GateEvidence:
    if proves_harm(tally, alpha):
        verdict, ending = Verdict.HARM, "harm is proven"
    elif tally.gate.proof and not ruled_out:
        upper = f"{bounds[1]:.4g}" if math.isfinite(bounds[1]) else "any size"
        verdict, ending = Verdict.INCONCLUSIVE, f"harm up to {upper} is possible, {margin:.4g} is tolerated"
    elif tally.gate.proof:
        verdict, ending = Verdict.PASS, f"harm above {margin:.4g} is ruled out"
    else:
        verdict, ending = Verdict.PASS, "no harm is proven"
    return _evidence(tally, alpha, verdict, f"{says}: {ending}", bounds, _log_e(tally, alpha))


def _log_e(tally: GateTally, alpha: float) -> float | None:
    """Log of the evidence for harm; None for quantiles, whose bounds decide."""
    gate = tally.gate
    if gate.statistic == "mean":
        return pairs_log_e(tally.pairs, alpha)
    if gate.statistic == "quantile":
        return None
    if gate.limit is not None:
        return rate_above_log_e(round(tally.canary.total), tally.canary.count, gate.limit)
    # Pairs that differ are fair coins under the null: McNemar's test, made anytime-valid.
    return rate_above_log_e(tally.worse, tally.worse + tally.better, 0.5)


def _quantile_parted(tally: GateTally, alpha: float) -> bool:
    """The canaries' band lies above the limit, or above control's band."""
    level, limit = tally.gate.quantile or 0.5, tally.gate.limit
    if limit is not None:
        return _quantile_bounds(tally.canary_values, level, alpha)[0] > limit
    lowest = _quantile_bounds(tally.canary_values, level, alpha / 2)[0]
    return lowest > _quantile_bounds(tally.control_values, level, alpha / 2)[1]


def _evidence(
    tally: GateTally,
    alpha: float,
    verdict: Verdict,
    reason: str,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    log_e: float | None = None,
) -> GateEvidence:
    canary, control = _estimates(tally)
    difference = None if canary is None or control is None else canary - control
    return GateEvidence(
        gate=tally.gate.name,
        verdict=verdict,
        reason=reason,
        alpha=alpha,
        canary_devices=tally.canary.count,
        control_devices=tally.control.count,
        canary=canary,
        control=control,
        difference=difference,
        lower=bounds[0] if math.isfinite(bounds[0]) else None,
        upper=bounds[1] if math.isfinite(bounds[1]) else None,
        log_e=log_e,
    )


def _estimates(tally: GateTally) -> tuple[float | None, float | None]:
    if tally.gate.statistic == "quantile":
        level = tally.gate.quantile or 0.5
        return _quantile_of(tally.canary_values, level), _quantile_of(tally.control_values, level)
    return tally.canary.mean, tally.control.mean


def _quantile_bounds(ascending: Sequence[float], level: float, alpha: float) -> tuple[float, float]:
    lower, upper = quantile_ranks(len(ascending), level, alpha)
    return (
        ascending[lower - 1] if lower else -math.inf,
        ascending[upper - 1] if upper <= len(ascending) else math.inf,
    )


def _quantile_of(ascending: Sequence[float], level: float) -> float | None:
    return ascending[min(len(ascending) - 1, int(level * len(ascending)))] if ascending else None


def _counts(tally: GateTally) -> str:
    canary, control = round(tally.canary.total), round(tally.control.total)
    return f"{canary} of {tally.canary.count} canaries and {control} of {tally.control.count} controls"


def _sign(difference: float) -> str:
    return f"{abs(difference):.4g} {'higher' if difference > 0 else 'lower'}"
