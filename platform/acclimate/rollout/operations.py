"""What people do to rollouts: the same few operations for the REST interface, the console and the CLI.

Each is one step of the domain, stored with a decision that says who asked and why.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from acclimate.errors import RolloutError
from acclimate.rollout.domain import rollout as steps
from acclimate.rollout.domain.cohort import Shortfall, position, shortfall
from acclimate.rollout.domain.evidence import Action, Decision
from acclimate.rollout.domain.plan import Plan, check_plan, default_waves
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate.rollout.domain.target import parse_target
from acclimate.rollout.store import Step, Store
from acclimate_device.protocol import Release


@dataclass(frozen=True)
class Operation:
    """One thing to do to a rollout.

    Attributes:
        states: where it is possible.
        consequence: what it means for devices, for the person who confirms it.
    """

    name: str
    step: Callable[[Rollout, float, int], Rollout]
    states: frozenset[State]
    consequence: str


_DRAWS = 8
HARM = Action.ROLL_BACK.value
"""The controller's decision; a person's is called `rollback`."""
_WIDENING = frozenset({State.RUNNING, State.HELD, State.PROMOTING})
OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(
            "start",
            lambda rollout, now, revision: steps.start(rollout, now),
            frozenset({State.DRAFT}),
            "The first wave opens: its canaries take the release, and as many control devices start afresh "
            "from the old one.",
        ),
        Operation(
            "promote",
            lambda rollout, now, revision: steps.promote(rollout, now, approved=True),
            frozenset({State.RUNNING, State.HELD}),
            "The next wave opens now, whatever the gates say; after the last one, the rollout is complete.",
        ),
        Operation(
            "pause",
            steps.pause,
            _WIDENING,
            "No further device takes the release. Devices that have it keep it.",
        ),
        Operation(
            "resume",
            steps.resume,
            frozenset({State.PAUSED}),
            "The rollout goes on. Both arms start afresh at this moment, so that they stay comparable.",
        ),
        Operation(
            "rollback",
            steps.roll_back,
            _WIDENING | {State.PAUSED},
            "Every device that took the release returns to what it ran before.",
        ),
        Operation(
            "abort",
            lambda rollout, now, revision: steps.abort(rollout, now),
            frozenset({State.DRAFT}),
            "The draft is dropped. No device ever knew of it.",
        ),
    )
}


def possible(rollout: Rollout) -> list[Operation]:
    """What can be done to a rollout now."""
    return [operation for operation in OPERATIONS.values() if rollout.state in operation.states]


def new_id() -> str:
    """A fresh rollout id; it salts the cohorts, so that no two rollouts draw the same canaries."""
    return f"r-{secrets.token_hex(5)}"


def proven_harmful(store: Store, fleet: str) -> dict[Release, Rollout]:
    """Releases that gates have rolled back in a fleet, each with its latest such rollout."""
    returned = store.rollouts(fleet, [State.ROLLING_BACK, State.ROLLED_BACK])
    return {
        rollout.plan.release: rollout
        for rollout in reversed(returned)
        if any(one.action == HARM for one in store.decisions(rollout.id, 1000))
    }


def draft(
    store: Store,
    plan: Plan,
    actor: str,
    now: float,
    draw_id: Callable[[], str] = new_id,
    despite_harm: bool = False,
) -> Rollout:
    """Keep a checked plan as a draft; one without waves takes those that fit the devices it targets.

    Args:
        despite_harm: take a release too that gates have rolled back in this fleet before.
        draw_id: makes ids until one draws cohorts large enough for every wave, a few times at most: nothing
            is known of any device's outcome yet, so choosing among draws favours neither arm.

    Raises:
        RolloutError: the plan makes no sense, a wave could never pass, the release is proven harmful, or the
            fleet is unknown.
    """
    store.fleet(plan.fleet)
    harmful = {} if despite_harm else proven_harmful(store, plan.fleet)
    if plan.release in harmful:
        release = plan.release
        raise RolloutError(
            f"{release.name} version {release.version} was rolled back by its gates in rollout "
            f"{harmful[release].id}: ship another version, or ask for this one despite the harm"
        )
    matches = parse_target(plan.target)
    targeted = [member.id for member in store.members(plan.fleet) if matches(member.attributes)]
    if not plan.waves:
        plan = replace(plan, waves=default_waves(len(targeted)))
    rollout = Rollout(
        _fitting_id(check_plan(plan), targeted, draw_id),
        plan,
        created_at=now,
        created_by=actor,
        changed_at=now,
    )
    return store.add_rollout(rollout, actor)


def _fitting_id(plan: Plan, devices: Sequence[str], draw_id: Callable[[], str]) -> str:
    found: list[Shortfall] = []
    for drawn in (draw_id() for _ in range(_DRAWS)):
        short = shortfall(plan, [position(drawn, device) for device in devices])
        if short is None:
            return drawn
        found.append(short)
    raise RolloutError(str(max(found, key=lambda one: (one.number, one.added))))


def operate(store: Store, rollout_id: str, name: str, actor: str, reason: str, now: float) -> Rollout:
    """Do one operation to a rollout.

    Raises:
        RolloutError: the rollout's state does not allow it, or another rollout of the fleet is live.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise RolloutError(f"{name!r} is not an operation: use one of {', '.join(OPERATIONS)}")
    current = store.rollout(rollout_id)
    decision = Decision(
        rollout_id, now, name, reason or f"{name} asked for by {actor}", actor, max(current.wave, 1)
    )
    step: Step = lambda rollout, revision: operation.step(rollout, now, revision)  # noqa: E731
    return store.step_rollout(rollout_id, step, decision)
