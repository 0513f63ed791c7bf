"""From a tally to a gate's verdict with its evidence.

Harm is proven when the gate's e-process reaches 1 / alpha, or a quantile's bounds part. Nothing else rolls
back, and no gate passes without data from every arm that it compares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from acclimate.rollout.domain.evidence import GateEvidence, Observation, Verdict
from acclimate.rollout.domain.plan import Gate, Plan, gate_alpha
from acclimate.rollout.domain.statistics import Bounds, GateStatistic, statistic_of
from acclimate.rollout.domain.tally import Tally

_UNBOUNDED = -math.inf, math.inf


def judge(plan: Plan, tally: Tally) -> tuple[GateEvidence, ...]:
    """Every gate's verdict at this moment."""
    return tuple(judge_gate(seen, gate_alpha(plan, seen.gate)) for seen in tally.gates)


def judge_gate(seen: GateStatistic, alpha: float) -> GateEvidence:
    """One gate's verdict at error level `alpha`."""
    missing = _missing(seen)
    if missing:
        return _evidence(seen, alpha, Verdict.INCONCLUSIVE, missing, _UNBOUNDED, None)
    bounds, proof, margin = seen.bounds(alpha), seen.gate.proof, seen.margin
    if seen.proves_harm(alpha):
        verdict, ending = Verdict.HARM, "harm is proven"
    elif proof and not seen.rules_out(bounds, alpha):
        upper = f"{bounds[1]:.4g}" if math.isfinite(bounds[1]) else "any size"
        verdict, ending = Verdict.INCONCLUSIVE, f"harm up to {upper} is possible, {margin:.4g} is tolerated"
    else:
        verdict = Verdict.PASS
        ending = f"harm above {margin:.4g} is ruled out" if proof else "no harm is proven"
    return _evidence(seen, alpha, verdict, f"{seen.says(alpha)}: {ending}", bounds, seen.log_e(alpha))


def difference_band(
    plan: Plan, gate: Gate, observations: Sequence[Observation], points: int = 60
) -> tuple[list[GateEvidence], float]:
    """The line and band of a chart: how a gate's evidence grew, at up to `points` moments, and the harm that
    is tolerated at the last."""
    seen, alpha, band = statistic_of(gate), gate_alpha(plan, gate), []
    settled = [observation for observation in observations if observation.order is not None]
    moments = {round((index + 1) * len(settled) / points) for index in range(points)}
    for number, observation in enumerate(settled, start=1):
        seen.add(observation)
        if number in moments:
            band.append(judge_gate(seen, alpha))
    return band, seen.margin


def _missing(seen: GateStatistic) -> str:
    if not seen.canary.count:
        return f"no canary has shown its {seen.gate.metric} yet"
    if seen.gate.limit is None and not seen.control.count:
        return f"no control device has shown its {seen.gate.metric} yet"
    return ""


def _evidence(
    seen: GateStatistic, alpha: float, verdict: Verdict, reason: str, bounds: Bounds, log_e: float | None
) -> GateEvidence:
    canary, control = seen.estimate("canary"), seen.estimate("control")
    return GateEvidence(
        gate=seen.gate.name,
        verdict=verdict,
        reason=reason,
        alpha=alpha,
        canary_devices=seen.canary.count,
        control_devices=seen.control.count,
        canary=canary,
        control=control,
        difference=None if canary is None or control is None else canary - control,
        lower=bounds[0] if math.isfinite(bounds[0]) else None,
        upper=bounds[1] if math.isfinite(bounds[1]) else None,
        log_e=log_e,
    )
