"""The loop that moves rollouts: load, decide (pure), apply with writes that only the leader can make.

Any number of replicas may run one. Whoever holds the lease acts; the others' ticks are one small query. Every
write names the leader's fencing token and the rollout's generation, so neither a leader that lost its lease
unawares nor an operator's pause in the middle of a tick is ever overridden.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from acclimate.errors import AcclimateError
from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.cohort import position, thresholds
from acclimate.rollout.domain.decide import Conclusion, decide
from acclimate.rollout.domain.evidence import Action, Decision, GateEvidence
from acclimate.rollout.domain.rollout import LIVE, Rollout, State
from acclimate.rollout.domain.target import parse_target
from acclimate.rollout.faults import Fault, Faults
from acclimate.rollout.field_result import ModelRegistry, write_field_result
from acclimate.rollout.store import ConflictError, LeaseLostError, Step, Store
from acclimate.rollout.watch import Watch

log = logging.getLogger(__name__)

LEASE = "controller"
ACTOR = "controller"
DAY_S = 86_400.0


class Controller:
    """One replica's controller; call `tick` again and again, or `run` it in a thread.

    Args:
        holder: this replica's name, unique among replicas and restarts.
        clock: seconds since the epoch.
        registry: where field results go and aliases move; None where there is none.
        lease_s: how long a leader that vanished is waited for. A tick must take less.
        retention_s: how long reports are kept; longer than devices queue them, or a late repeat of a deleted
            one would count twice.
        prune_s: time between two looks for old reports.
        faults: keeps what fails in one rollout from the others.
    """

    def __init__(
        self,
        store: Store,
        holder: str,
        clock: Callable[[], float],
        registry: ModelRegistry | None = None,
        lease_s: float = 15.0,
        retention_s: float = 30 * DAY_S,
        prune_s: float = 600.0,
        faults: Faults | None = None,
    ) -> None:
        self._store, self._holder, self._clock, self._registry = store, holder, clock, registry
        self._lease_s, self._retention_s, self._prune_s = lease_s, retention_s, prune_s
        self._faults = faults or Faults(clock=clock)
        self._watches: dict[str, Watch] = {}
        self._token = 0
        self._pruned_at = 0.0
        self._publishing: threading.Thread | None = None

    def run(self, stop: threading.Event, tick_s: float) -> None:
        """Tick until `stop` is set, then give the lease back. A failing tick is logged and tried again."""
        while not stop.is_set():
            with self._faults.apart("controller"):
                self.tick()
            stop.wait(tick_s)
        with self._faults.apart("controller"):
            self.resign()

    def tick(self) -> bool:
        """Do what is due, if this replica leads; whether it does."""
        lease = self._store.acquire_lease(LEASE, self._holder, self._clock(), self._lease_s)
        if lease is None:
            self._watches.clear()
            return False
        if lease.token != self._token:
            self._watches.clear()  # others may have written since
            self._token = lease.token
        try:
            self._lead()
        except LeaseLostError as lost:
            log.warning("lease-lost", extra={"detail": lost})
            self._watches.clear()
            return False
        return True

    def resign(self) -> None:
        """Let another replica lead at once."""
        lease = self._store.acquire_lease(LEASE, self._holder, self._clock(), self._lease_s)
        if lease is not None:
            self._store.release_lease(lease)

    def _lead(self) -> None:
        live = self._store.rollouts(states=sorted(LIVE))
        for rollout in live:
            show = partial(self._show_fault, rollout)
            with self._faults.apart("rollout", rollout.id, passing=(LeaseLostError,), show=show):
                try:
                    self._advance(rollout)
                except ConflictError:
                    log.info("rollout-changed-meanwhile", extra={"rollout": rollout.id})
        for gone in self._watches.keys() - {rollout.id for rollout in live}:
            del self._watches[gone]
        self._faults.forget_all_but("rollout", {rollout.id for rollout in live})
        with self._faults.apart("field-result", passing=(LeaseLostError,)):
            self._publish_ended()
        with self._faults.apart("prune", passing=(LeaseLostError,)):
            if self._clock() - self._pruned_at >= self._prune_s:
                self._prune()

    def _advance(self, rollout: Rollout) -> None:
        if rollout.state is State.PROMOTING:
            self._promote(rollout)
            return
        watch = self._watches.pop(rollout.id, None) or Watch(self._store, rollout)
        watch.update(
            rollout, self._clock(), self._token
        )  # if it fails it is half updated: the rows are the truth
        self._watches[rollout.id] = watch
        if rollout.state is State.ROLLING_BACK:
            self._close_roll_back(rollout, watch)
            return
        evidence = watch.evidence()
        conclusion = decide(rollout, evidence, watch.settled_in_wave(), self._clock())
        self._apply(rollout, conclusion, evidence, watch)

    def _show_fault(self, rollout: Rollout, fault: Fault) -> None:
        """In the rollout's own decisions, where people ask why nothing moves."""
        reason = f"the controller cannot look at this rollout and tries again at every tick: {fault.error}"
        self._store.record_decision(self._decision(rollout, "fault", reason), self._token)

    def _apply(
        self, rollout: Rollout, conclusion: Conclusion, evidence: tuple[GateEvidence, ...], watch: Watch
    ) -> None:
        now = self._clock()
        decision = self._decision(rollout, conclusion.action, conclusion.reason, evidence, watch.facts())
        if conclusion.action is Action.WAIT:
            verdicts = (rollout.state.value, *(gate.verdict.value for gate in evidence))
            if verdicts != watch.verdicts:  # a decision for each turn of a gate, not for each tick
                self._store.record_decision(decision, self._token)
                watch.verdicts = verdicts
            return
        steps: dict[Action, Step] = {
            Action.PROMOTE: lambda one, _: life.promote(one, now, approved=False),
            Action.HOLD: lambda one, _: life.hold(one, now, conclusion.held_for),
            Action.ROLL_BACK: lambda one, revision: life.roll_back(one, now, revision),
        }
        self._step(rollout, steps[conclusion.action], decision)

    def _promote(self, rollout: Rollout) -> None:
        now = self._clock()
        if rollout.next_wave is None:
            decision = self._decision(rollout, "finish", "the last wave has passed")
            self._step(rollout, lambda one, _: life.finish(one, now), decision)
            return
        plan = rollout.plan
        matches = parse_target(plan.target)
        members = self._store.members(plan.fleet)
        places = [position(rollout.id, member.id) for member in members if matches(member.attributes)]
        canary, control = thresholds(rollout.next_wave, plan.control_share, places)
        if not rollout.opened:  # what was reported before concerns no gate
            self._store.save_observations(rollout.id, [], self._store.last_sequence(plan.fleet), self._token)
        reason = f"wave {rollout.wave + 1} of {len(plan.waves)}: canaries {canary:.2%}, control {control:.2%}"
        decision = self._decision(rollout, "open_wave", reason, facts={"devices": len(places)})
        self._step(
            rollout, lambda one, revision: life.open_wave(one, now, revision, canary, control), decision
        )

    def _close_roll_back(self, rollout: Rollout, watch: Watch) -> None:
        now, awaited = self._clock(), watch.awaited()
        expired = now - rollout.changed_at >= rollout.plan.rollback_timeout_s
        if awaited and not expired:
            return
        reason = f"{awaited} canaries were not heard in time" if awaited else "every canary heard of is back"
        decision = self._decision(rollout, "rolled_back", reason, facts=watch.facts())
        self._step(rollout, lambda one, _: life.rolled_back(one, now), decision)

    def _publish_ended(self) -> None:
        """Write field results, in a thread beside: a registry that never answers delays no rollout."""
        if self._registry is None or (self._publishing is not None and self._publishing.is_alive()):
            return
        if ended := self._store.unpublished():
            work = partial(self._publish, self._registry, ended, self._token)
            self._publishing = threading.Thread(target=work, name="field-results", daemon=True)
            self._publishing.start()
            self._publishing.join(self._lease_s / 10)

    def _publish(self, registry: ModelRegistry, ended: Sequence[Rollout], token: int) -> None:
        for rollout in ended:
            with self._faults.apart("field-result", rollout.id):
                observations = self._store.observations(rollout.id)
                decisions = self._store.decisions(rollout.id)
                try:
                    done = write_field_result(registry, rollout, observations, decisions)
                except AcclimateError as error:
                    log.warning("field-result-not-written", extra={"rollout": rollout.id, "error": error})
                    continue
                self._store.mark_published(rollout.id, done, self._clock(), token)

    def _prune(self) -> None:
        """One page of old reports a tick until there are none left, so that no tick outlasts the lease."""
        self._store.forget_proofs(self._clock())
        if self._store.prune(self._clock() - self._retention_s, self._token) == 0:
            self._pruned_at = self._clock()

    def _step(self, rollout: Rollout, step: Step, decision: Decision) -> None:
        self._store.step_rollout(rollout.id, step, decision, generation=rollout.generation, token=self._token)
        log.info(
            "rollout-decided",
            extra={
                "rollout": rollout.id,
                "action": decision.action,
                "wave": decision.wave,
                "reason": decision.reason,
            },
        )

    def _decision(
        self,
        rollout: Rollout,
        action: str,
        reason: str,
        evidence: tuple[GateEvidence, ...] = (),
        facts: dict[str, Any] | None = None,
    ) -> Decision:
        return Decision(
            rollout.id, self._clock(), action, reason, ACTOR, max(rollout.wave, 1), evidence, facts or {}
        )
