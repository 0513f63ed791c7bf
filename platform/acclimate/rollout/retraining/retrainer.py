"""Decides whether a training starts, watches it, and writes down what happened.

Invariants, kept by leases in the store and so by all replicas together:
    * never two trainings at once: whoever runs one holds the lease `retraining` and renews it;
    * one a fleet within the cooldown, whoever asks: a lease named after the fleet simply runs out;
    * each start and each end is in the audit log, with who asked and why.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from acclimate.errors import RolloutError
from acclimate.rollout.domain.access import AuditEntry
from acclimate.rollout.domain.fleet import Fleet
from acclimate.rollout.domain.retraining import Cause, Drifted, RetrainingRule, Trigger
from acclimate.rollout.domain.rollout import LIVE
from acclimate.rollout.faults import Faults
from acclimate.rollout.retraining.launcher import Finished, Launcher, Training
from acclimate.rollout.store import Lease, Store

log = logging.getLogger(__name__)

RUNNING = "retraining"
ACTOR = "retraining"


@dataclass(frozen=True)
class Answer:
    """Whether a training started, its id if so, and why (not)."""

    started: bool
    detail: str
    id: str = ""


@dataclass(frozen=True)
class _Running:
    trigger: Trigger
    training: Training
    lease: Lease


class Retrainer:
    """One replica's part; `tick` it now and then, or `run` it in a thread.

    Args:
        clock: seconds since the epoch.
        lease_s: after this long without a sign of life of a replica, another may train.
        faults: keeps what fails for one fleet from the others.
    """

    def __init__(
        self,
        store: Store,
        launcher: Launcher,
        rule: RetrainingRule,
        clock: Callable[[], float],
        lease_s: float = 120.0,
        faults: Faults | None = None,
    ) -> None:
        self._store, self._launcher, self.rule, self._clock = store, launcher, rule, clock
        self._lease_s, self._faults = lease_s, faults or Faults(clock)
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def run(self, stop: threading.Event, tick_s: float) -> None:
        """Tick until `stop` is set, then end what runs. A failing tick is logged and tried again."""
        while not stop.is_set():
            with self._faults.apart("retraining"):
                self.tick()
            stop.wait(tick_s)
        with self._faults.apart("retraining"):
            self.close()

    def tick(self) -> None:
        """Look after the training under way, and at every fleet's drift."""
        with self._lock:
            self._look_after()
            busy = self._running is not None
        if busy or not self.rule.drift_share:
            return
        for fleet in self._store.fleets():
            with self._faults.apart("retraining", fleet.name):
                if self._started_for_drift(fleet):
                    return

    def _started_for_drift(self, fleet: Fleet) -> bool:
        if self._store.rollouts(fleet.name, sorted(LIVE)):
            return False  # a release under trial may look like drift; its gates judge it
        drifted = self._drifted(fleet)
        if not self.rule.calls_for(drifted):
            return False
        detail = f"{drifted.drifted} of {drifted.devices} devices noticed drift"
        return self.request(fleet.name, "drift", detail, ACTOR).started

    def request(self, fleet: str, cause: Cause, detail: str, actor: str) -> Answer:
        """Start a training for a fleet, unless one runs or ran a short while ago.

        Raises:
            NotFoundError: no such fleet.
            RolloutError: the fleet runs no release yet, or the training cannot be started.
        """
        found = self._store.fleet(fleet)
        if not found.baselines:
            raise RolloutError(f"fleet {fleet!r} runs no release yet: there is nothing to train again")
        with self._lock:
            self._look_after()
            training_id = f"t-{secrets.token_hex(5)}"
            now = self._clock()
            lease = self._store.acquire_lease(RUNNING, training_id, now, self._lease_s)
            if lease is None:
                return Answer(False, "another training is running")
            pause = self._store.acquire_lease(f"{RUNNING} {fleet}", training_id, now, self.rule.cooldown_s)
            if pause is None:
                self._store.release_lease(lease)
                return Answer(
                    False, f"fleet {fleet!r} was trained for less than {self.rule.cooldown_s:g} s ago"
                )
            trigger = Trigger(
                training_id, fleet, found.baselines[0].release, cause, actor, detail, self._drifted(found)
            )
            try:
                training = self._launcher.launch(trigger)
            except Exception as error:  # whatever it was: nothing trains, so nobody may be kept from it
                self._store.release_lease(pause)
                self._store.release_lease(lease)
                self._audit(trigger, "retraining.fail", str(error), actor)
                raise
            self._running = _Running(trigger, training, lease)
            self._audit(trigger, "retraining.start", f"{cause}: {detail}", actor)
        log.info("retraining-started", extra={"id": training_id, "fleet": fleet, "cause": cause})
        return Answer(True, f"training {training_id} started: {detail}", training_id)

    def wait(self, timeout_s: float, poll_s: float = 0.2) -> bool:
        """Look after the training under way until it ends; False if it has not by then."""
        pause, waited = threading.Event(), 0.0
        while waited < timeout_s:
            with self._lock:
                self._look_after()
                if self._running is None:
                    return True
            pause.wait(poll_s)
            waited += poll_s
        return False

    def close(self) -> None:
        """End the training under way; another replica may start one at once."""
        with self._lock:
            if self._running is not None:
                self._running.training.stop()
                self._end(self._running, Finished(False, "the service was stopped"))

    def _look_after(self) -> None:
        running = self._running
        if running is None:
            return
        finished = running.training.finished()
        if finished is not None:
            self._end(running, finished)
            return
        holder = running.lease.holder
        if self._store.acquire_lease(RUNNING, holder, self._clock(), self._lease_s) is None:
            running.training.stop()  # this replica was away so long that another one trains now
            self._end(running, Finished(False, "another replica took over"))

    def _end(self, running: _Running, finished: Finished) -> None:
        self._running = None
        self._store.release_lease(running.lease)
        action = "retraining.done" if finished.succeeded else "retraining.fail"
        self._audit(running.trigger, action, finished.detail, ACTOR)
        level = logging.INFO if finished.succeeded else logging.WARNING
        about = {"id": running.trigger.id, "succeeded": finished.succeeded, "detail": finished.detail}
        log.log(level, "retraining-ended", extra=about)

    def _drifted(self, fleet: Fleet) -> Drifted:
        running = [baseline.release.content_hash for baseline in fleet.baselines]
        return self._store.drifted(fleet.name, running, self._clock() - self.rule.window_s)

    def _audit(self, trigger: Trigger, action: str, detail: str, actor: str) -> None:
        entry = AuditEntry(self._clock(), actor, action, trigger.id, detail[:1000], trigger.fleet)
        self._store.add_audit(entry)
