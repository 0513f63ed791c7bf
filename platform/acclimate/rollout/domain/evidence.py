"""What devices showed, what a gate makes of it, and the decision with its evidence, all as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Arm = Literal["canary", "control"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What one device of one arm has shown in one rollout; fixed once `order` is given.

    Attributes:
        wave: the wave that brought it in, from 1.
        taken_at: when it was told its assignment.
        counter, content_hash: of the assignment it was told.
        order: its place among settled devices; None while it is watched.
        adapted: it has tried to adapt, so losses count from here on.
        paid: an adaptation paid.
        examples, loss_sum: labelled examples since then, and their losses.
        failure: it could not run its release: refused it, fell back to an older one, or runs another.
        silence: nothing was heard of it for too long.
        drift: it noticed drift.
        predictions, latency_ms: how many, and their mean time.
        heard_at: when its latest report under its assignment arrived.
        returned: it runs the old release again (canaries of a roll back).
    """

    device: str
    arm: Arm
    wave: int
    taken_at: float
    counter: int
    content_hash: str
    order: int | None = None
    adapted: bool = False
    paid: bool = False
    examples: int = 0
    loss_sum: float = 0.0
    failure: bool = False
    silence: bool = False
    drift: bool = False
    predictions: int = 0
    latency_ms: float | None = None
    heard_at: float | None = None
    returned: bool = False

    @property
    def loss(self) -> float | None:
        """Mean post-adaptation loss of the device; None before it labelled an example."""
        return self.loss_sum / self.examples if self.examples else None

    @property
    def fallback(self) -> bool:
        """Adaptation was tried and did not pay: the device uses the start."""
        return self.adapted and not self.paid


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"
    HARM = "harm"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """One gate at one moment: enough to answer "why" later, without any other row.

    Attributes:
        canary, control: the arms' own estimates (mean, rate or quantile); None without data.
        difference: canary minus control; None without both.
        lower, upper: bounds on `difference` (on `canary` where the gate has a limit), each of which holds at
            all times with probability `1 - alpha` or more; None while there is no bound.
        log_e: log of the evidence for harm; harm is proven from log(1 / alpha) on. None for quantiles, whose
            bounds decide.
        reason: one sentence for people.
    """

    gate: str
    verdict: Verdict
    reason: str
    alpha: float
    canary_devices: int
    control_devices: int
    canary: float | None = None
    control: float | None = None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    log_e: float | None = None


class Action(StrEnum):
    """What follows from the evidence."""

    WAIT = "wait"
    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about one rollout, kept for ever.

    Attributes:
        actor: `controller`, or who asked for it.
        wave: the wave it was about, from 1.
        facts: other figures it rests on (devices exposed, seconds in the wave, ...).
    """

    rollout: str
    at: float
    action: str
    reason: str
    actor: str
    wave: int
    evidence: tuple[GateEvidence, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
