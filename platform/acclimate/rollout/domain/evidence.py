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
        taken_at: when it was first told.
        counter: the assignment's it was told.
        order: its place among settled devices; None while it is watched.
        adapted: it has tried to adapt, so losses count from here on.
        failure: it could not run its release: refused it, fell back to an older one, or runs another.
        silence: nothing was heard of it before the deadline.
        fallback: adaptation did not pay and it uses the start.
        heard_at: when its latest report under its assignment arrived.
        returned: it runs the old release again (canaries of a roll back).
    """

    device: str
    arm: Arm
    wave: int
    taken_at: float
    counter: int
    order: int | None = None
    adapted: bool = False
    examples: int = 0
    loss_sum: float = 0.0
    failure: bool = False
    silence: bool = False
    fallback: bool = False
    drift: bool = False
    latency_ms: float | None = None
    heard_at: float | None = None
    returned: bool = False

    @property
    def loss(self) -> float | None:
        """Mean post-adaptation loss of the device."""
        return self.loss_sum / self.examples if self.examples else None


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
        lower, upper: bounds on `difference` (on `canary` where the gate has a limit) that hold at all times
            together with probability `1 - 2 alpha`.
        log_e: log of the evidence against "no harm"; harm is proven from log(1 / alpha) on.
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
