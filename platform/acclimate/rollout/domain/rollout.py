"""A rollout's life: its states, and every step from one to the next.

Invariants:
    * Exposure widens in one place only: `open_wave`, from `running` (the first) or `promoting` (the rest).
    * Promotion takes two steps with a stored state between them. A pause that arrives at either is obeyed,
      so pause wins over promote whoever comes first.
    * Ended is ended: no step leaves `done`, `rolled_back` or `aborted`.
    * Every step is a pure function of (rollout, now, revision); refusals name the state and what would help.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from acclimate.errors import RolloutError
from acclimate.rollout.domain.plan import Plan, Wave


class State(StrEnum):
    """Where a rollout stands."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    HELD = "held"
    PROMOTING = "promoting"
    DONE = "done"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


LIVE = frozenset({State.RUNNING, State.PAUSED, State.HELD, State.PROMOTING, State.ROLLING_BACK})
ENDED = frozenset({State.DONE, State.ROLLED_BACK, State.ABORTED})


@dataclass(frozen=True, slots=True)
class OpenWave:
    """A wave that was opened: devices at a position below `canary` run the release, those at `1 - control`
    or above are control. `revision` is the counter of what they were told."""

    canary: float
    control: float
    opened_at: float
    revision: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """One plan on its way.

    Attributes:
        id: unique, from the caller; it salts the cohorts, so two rollouts draw different canaries.
        opened: one entry for each wave that was opened, in order.
        touched: revision of the last pause, resume or roll back, after which assignments differ.
        changed_at: when the state last changed.
        generation: rises with every stored change; a write names the one it read, so two never mix.
        held_for: why a person is needed, while held; `approval` where the next wave asks for one.
        approved: the number of waves that a person has approved to open.
    """

    id: str
    plan: Plan
    created_at: float
    created_by: str
    state: State = State.DRAFT
    opened: tuple[OpenWave, ...] = ()
    touched: int = 0
    changed_at: float = 0.0
    generation: int = 0
    held_for: str = ""
    approved: int = 0

    @property
    def live(self) -> bool:
        """Devices are concerned by it."""
        return self.state in LIVE

    @property
    def wave(self) -> int:
        """Number of the current wave, from 1; 0 before the first opened."""
        return len(self.opened)

    @property
    def next_wave(self) -> Wave | None:
        """The wave that a promotion opens; None when a promotion finishes the rollout."""
        return self.plan.waves[self.wave] if self.wave < len(self.plan.waves) else None


def start(rollout: Rollout, now: float) -> Rollout:
    """draft → promoting, so that the first wave is opened like every other."""
    _expect(rollout, "started", {State.DRAFT})
    return _change(rollout, State.PROMOTING, now, approved=1)


def pause(rollout: Rollout, now: float, revision: int) -> Rollout:
    """Stop widening; devices that have not taken their release yet wait."""
    _expect(rollout, "paused", {State.RUNNING, State.HELD, State.PROMOTING})
    return _change(rollout, State.PAUSED, now, touched=revision)


def resume(rollout: Rollout, now: float, revision: int) -> Rollout:
    """paused → running (or promoting, when no wave was open yet). Both arms re-seed at this moment."""
    _expect(rollout, "resumed", {State.PAUSED})
    state = State.RUNNING if rollout.opened else State.PROMOTING
    return _change(rollout, state, now, touched=revision)


def hold(rollout: Rollout, now: float, reason: str) -> Rollout:
    """running or held → held: the evidence is not conclusive, or a person must approve."""
    _expect(rollout, "held", {State.RUNNING, State.HELD})
    return _change(rollout, State.HELD, now, held_for=reason)


def promote(rollout: Rollout, now: float, approved: bool) -> Rollout:
    """running or held → promoting. `approved`: a person asked for it, which grants the next wave's approval.

    Raises:
        RolloutError: not running or held, or the next wave awaits a person and `approved` is False.
    """
    _expect(rollout, "promoted", {State.RUNNING, State.HELD})
    granted = rollout.wave + 1 if approved else rollout.approved
    if needs_approval(replace(rollout, approved=granted)):
        raise RolloutError(f"wave {rollout.wave + 1} of rollout {rollout.id} waits for a person: approve it")
    return _change(rollout, State.PROMOTING, now, approved=granted)


def needs_approval(rollout: Rollout) -> bool:
    """The next wave asks for a person's yes and has none."""
    wave = rollout.next_wave
    return wave is not None and wave.approval and rollout.approved < rollout.wave + 1


def open_wave(rollout: Rollout, now: float, revision: int, canary: float, control: float) -> Rollout:
    """promoting → running with one wave more, at the given thresholds; neither cohort ever shrinks."""
    _expect(rollout, "widened", {State.PROMOTING})
    if rollout.next_wave is None:
        raise RolloutError(f"rollout {rollout.id} has no wave left to open: finish it")
    last = rollout.opened[-1] if rollout.opened else OpenWave(0.0, 0.0, now, revision)
    wave = OpenWave(max(canary, last.canary), max(control, last.control), now, revision)
    return _change(rollout, State.RUNNING, now, opened=(*rollout.opened, wave))


def finish(rollout: Rollout, now: float) -> Rollout:
    """promoting → done, after the last wave."""
    _expect(rollout, "finished", {State.PROMOTING})
    if rollout.next_wave is not None:
        raise RolloutError(f"rollout {rollout.id} has waves left: promote it through wave {rollout.wave + 1}")
    return _change(rollout, State.DONE, now)


def roll_back(rollout: Rollout, now: float, revision: int) -> Rollout:
    """Return every canary to what it ran before."""
    _expect(rollout, "rolled back", {State.RUNNING, State.PAUSED, State.HELD, State.PROMOTING})
    return _change(rollout, State.ROLLING_BACK, now, touched=revision)


def rolled_back(rollout: Rollout, now: float) -> Rollout:
    """rolling_back → rolled_back: the canaries are back, or have been waited for long enough."""
    _expect(rollout, "closed", {State.ROLLING_BACK})
    return _change(rollout, State.ROLLED_BACK, now)


def abort(rollout: Rollout, now: float) -> Rollout:
    """draft → aborted: no device ever knew of it. Once started, a rollout is rolled back instead."""
    _expect(rollout, "aborted", {State.DRAFT})
    return _change(rollout, State.ABORTED, now)


_HINTS = {
    State.DRAFT: "start it first",
    State.PAUSED: "resume it first",
    State.RUNNING: "pause it first",
    State.HELD: "promote or roll it back",
    State.PROMOTING: "wait until the wave is open, or pause it",
}


def _expect(rollout: Rollout, verb: str, states: set[State]) -> None:
    if rollout.state not in states:
        hint = _HINTS.get(rollout.state, "it has ended: create another rollout")
        if rollout.state is State.ROLLING_BACK:
            hint = "it ends by itself"
        state = rollout.state.replace("_", " ")
        raise RolloutError(f"rollout {rollout.id} is {state} and cannot be {verb}: {hint}")


def _change(rollout: Rollout, state: State, now: float, **fields: object) -> Rollout:
    changes: dict[str, object] = {
        "state": state,
        "changed_at": now,
        "generation": rollout.generation + 1,
        "held_for": "",
    } | fields
    return replace(rollout, **changes)  # type: ignore[arg-type] # names are this module's own, types are tested
