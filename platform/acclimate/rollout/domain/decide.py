"""What follows from the evidence: wait, promote, hold, or roll back. Pure, and silent data never promotes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acclimate.rollout.domain.evidence import Action, GateEvidence, Verdict
from acclimate.rollout.domain.rollout import Rollout, State, needs_approval

APPROVAL = "approval"
EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """An action and the sentence that explains it; `held_for` says what a hold waits for."""

    action: Action
    reason: str
    held_for: str = ""


def decide(rollout: Rollout, evidence: Sequence[GateEvidence], settled: int, now: float) -> Conclusion:
    """The next action of the controller.

    Args:
        settled: canaries of the current wave whose outcome is fixed.

    Harm rolls back in every state that exposes devices, paused included: a pause stops widening, it does not
    keep devices on a release that is proven worse.
    """
    if rollout.state not in (State.RUNNING, State.HELD, State.PAUSED) or not rollout.opened:
        return Conclusion(Action.WAIT, f"rollout is {rollout.state.replace('_', ' ')}")
    harmed = [gate for gate in evidence if gate.verdict is Verdict.HARM]
    if harmed:
        return Conclusion(Action.ROLL_BACK, "; ".join(gate.reason for gate in harmed))
    if rollout.state is State.PAUSED:
        return Conclusion(Action.WAIT, "paused by a person")
    obstacles = _obstacles(rollout, evidence, settled, now)
    if not obstacles:
        return _promote(rollout)
    wave = rollout.plan.waves[rollout.wave - 1]
    if rollout.state is State.RUNNING and now - rollout.opened[-1].opened_at >= wave.timeout_s:
        reason = f"no verdict after {wave.timeout_s:g} s: " + "; ".join(obstacles)
        return Conclusion(Action.HOLD, reason, EVIDENCE)
    return Conclusion(Action.WAIT, "; ".join(obstacles))


def _promote(rollout: Rollout) -> Conclusion:
    if needs_approval(rollout):
        reason = f"every gate passes; wave {rollout.wave + 1} waits for a person's approval"
        already = rollout.state is State.HELD and rollout.held_for == APPROVAL
        return Conclusion(Action.WAIT if already else Action.HOLD, reason, APPROVAL)
    step = f"wave {rollout.wave + 1} opens" if rollout.next_wave else "the rollout is complete"
    return Conclusion(Action.PROMOTE, f"every gate passes: {step}")


def _obstacles(rollout: Rollout, evidence: Sequence[GateEvidence], settled: int, now: float) -> list[str]:
    """Why the current wave may not pass yet."""
    wave = rollout.plan.waves[rollout.wave - 1]
    age = now - rollout.opened[-1].opened_at
    obstacles = []
    if age < wave.duration_s:
        obstacles.append(f"{age:.0f} of {wave.duration_s:g} s watched")
    if settled < wave.min_devices:
        obstacles.append(f"{settled} of {wave.min_devices} canaries of wave {rollout.wave} have reported")
    if not evidence:
        obstacles.append("there is no evidence")
    return obstacles + [gate.reason for gate in evidence if gate.verdict is not Verdict.PASS]
