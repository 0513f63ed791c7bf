"""Rollouts, their decisions and what devices showed, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from acclimate.rollout.domain.access import AuditEntry
from acclimate.rollout.domain.assignment import with_baseline
from acclimate.rollout.domain.evidence import Decision, Observation
from acclimate.rollout.domain.fleet import Fleet
from acclimate.rollout.domain.plan import check_plan
from acclimate.rollout.domain.rollout import ENDED, Rollout, State
from acclimate.rollout.store import rows, tables
from acclimate.rollout.store.access import write_audit
from acclimate.rollout.store.contract import ConflictError, NotFoundError, Step, Taken
from acclimate.rollout.store.database import Database, upsert
from acclimate.rollout.store.fleets import next_fleet, note_given, read_fleet, write_fleet
from acclimate.rollout.store.leases import guard

ROLLOUTS, DECISIONS, OBSERVATIONS = tables.rollouts, tables.decisions, tables.observations
OBSERVED = rows.names(Observation)


class RolloutTables:
    """The part of `Store` about rollouts."""

    _database: Database

    def add_rollout(self, rollout: Rollout, actor: str) -> Rollout:
        """Keep a draft."""
        check_plan(rollout.plan)
        with self._database.write() as connection:
            read_fleet(connection, rollout.plan.fleet)
            try:
                connection.execute(ROLLOUTS.insert().values(rows.rollout_values(rollout)))
            except IntegrityError:
                raise ConflictError(f"rollout {rollout.id!r} exists already: choose another id") from None
            note_given(
                self._database, connection, rollout.plan.fleet, rollout.plan.release, rollout.created_at
            )
            _audit(connection, rollout, rollout.created_at, actor, "rollout.plan", "")
        return rollout

    def rollout(self, rollout_id: str) -> Rollout:
        with self._database.read() as connection:
            return _read(connection, rollout_id)

    def rollouts(self, fleet: str | None = None, states: Sequence[State] = ()) -> list[Rollout]:
        """Newest first."""
        query = select(ROLLOUTS).order_by(ROLLOUTS.c.created_at.desc(), ROLLOUTS.c.id)
        if fleet is not None:
            query = query.where(ROLLOUTS.c.fleet == fleet)
        if states:
            query = query.where(ROLLOUTS.c.state.in_([state.value for state in states]))
        with self._database.read() as connection:
            return [rows.rollout_of(row) for row in connection.execute(query).mappings()]

    def step_rollout(
        self,
        rollout_id: str,
        step: Step,
        decision: Decision,
        *,
        generation: int | None = None,
        token: int | None = None,
    ) -> Rollout:
        """Apply one step of a rollout's life, with its decision, its fleet's revision and the audit entry.

        A rollout that becomes `done` makes its release the baseline of its target; one that ends raises the
        fleet's floor.

        Args:
            generation: what the caller read; ConflictError if the rollout changed since.
            token: the controller's fencing token; LeaseLostError if another leads.

        Raises:
            ConflictError: another rollout of the fleet is live.
            RolloutError: `step` refuses.
        """
        with self._database.write() as connection:
            if token is not None:
                guard(connection, token)
            fleet = next_fleet(connection, _read(connection, rollout_id).plan.fleet, decision.at)
            before = _read(connection, rollout_id)  # again, now that the fleet's lock orders the steps
            if generation is not None and before.generation != generation:
                raise ConflictError(f"rollout {rollout_id} has changed since it was read: look again")
            after = step(before, fleet.revision)
            try:
                connection.execute(
                    update(ROLLOUTS).where(ROLLOUTS.c.id == rollout_id).values(rows.rollout_values(after))
                )
            except IntegrityError:
                raise ConflictError(
                    f"fleet {fleet.name!r} has a live rollout already: end that one first"
                ) from None
            write_fleet(connection, _fleet_after(fleet, after))
            connection.execute(DECISIONS.insert().values(rows.decision_values(decision)))
            action = f"rollout.{decision.action}"
            _audit(connection, after, decision.at, decision.actor, action, decision.reason)
        return after

    def record_decision(self, decision: Decision, token: int) -> None:
        """Keep a decision that changes no state (a gate turned, a hold goes on)."""
        with self._database.write() as connection:
            guard(connection, token)
            connection.execute(DECISIONS.insert().values(rows.decision_values(decision)))

    def decisions(self, rollout: str, limit: int = 100) -> list[Decision]:
        """Newest first."""
        query = select(DECISIONS).where(DECISIONS.c.rollout == rollout)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(DECISIONS.c.sequence.desc()).limit(limit))
            return [rows.decision_of(row) for row in found.mappings()]

    def unpublished(self) -> list[Rollout]:
        """Rollouts that ended and whose result the registry does not know yet."""
        ended = [State.DONE.value, State.ROLLED_BACK.value]
        query = select(ROLLOUTS).where(ROLLOUTS.c.state.in_(ended), ROLLOUTS.c.published_at.is_(None))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(ROLLOUTS.c.changed_at))
            return [rows.rollout_of(row) for row in found.mappings()]

    def mark_published(self, rollout: str, detail: str, now: float, token: int) -> None:
        """The registry knows."""
        with self._database.write() as connection:
            guard(connection, token)
            published = _read(connection, rollout)
            connection.execute(update(ROLLOUTS).where(ROLLOUTS.c.id == rollout).values(published_at=now))
            _audit(connection, published, now, "controller", "rollout.publish", detail)

    def record_taken(self, taken: Sequence[Taken]) -> None:
        """Keep which devices took part, and when; a device already known in the rollout keeps its time
        unless the counter is higher and it has not settled."""
        if not taken:
            return
        values = [
            rows.plain(one.observation()) | {"rollout": one.rollout}
            for one in sorted(taken, key=lambda one: (one.rollout, one.device))
        ]
        insert = self._database.insert(OBSERVATIONS)
        newer = (OBSERVATIONS.c.counter < insert.excluded.counter) & OBSERVATIONS.c.order.is_(None)
        with self._database.write() as connection:
            connection.execute(upsert(insert, ["rollout", "device"], OBSERVED, newer), values)

    def observations(self, rollout: str, watched_since: float | None = None) -> list[Observation]:
        """Every device that took part: settled ones in order, then the watched ones by id. With
        `watched_since`, only those still watched that were told since then."""
        query, order = select(OBSERVATIONS).where(OBSERVATIONS.c.rollout == rollout), OBSERVATIONS.c.order
        if watched_since is not None:
            query = query.where(OBSERVATIONS.c.taken_at >= watched_since, order.is_(None))
        with self._database.read(long=True) as connection:
            found = connection.execute(query.order_by(order.is_(None), order, OBSERVATIONS.c.device))
            return [rows.observation_of(row) for row in found.mappings()]

    def progress(self, rollout: str) -> int:
        """The sequence of the last report folded into the rollout's observations."""
        with self._database.read() as connection:
            value = connection.scalar(select(ROLLOUTS.c.progress).where(ROLLOUTS.c.id == rollout))
        return value or 0

    def forget_observations(self, rollout: str, devices: Sequence[str], token: int) -> None:
        """Drop what these devices showed: it tells nothing. They may take part again."""
        ours = (OBSERVATIONS.c.rollout == rollout) & OBSERVATIONS.c.device.in_(devices)
        with self._database.write() as connection:
            guard(connection, token)
            connection.execute(delete(OBSERVATIONS).where(ours))

    def save_observations(
        self, rollout: str, observations: Sequence[Observation], progress: int, token: int
    ) -> None:
        """Store changed observations and how far the reports have been read, together. A device that was
        told anew in the meantime keeps the newer telling."""
        with self._database.write() as connection:
            guard(connection, token)
            if observations:
                insert = self._database.insert(OBSERVATIONS)
                as_read = OBSERVATIONS.c.counter <= insert.excluded.counter
                save = upsert(insert, ["rollout", "device"], OBSERVED, as_read)
                ordered = sorted(observations, key=lambda one: one.device)
                connection.execute(save, [rows.plain(one) | {"rollout": rollout} for one in ordered])
            connection.execute(update(ROLLOUTS).where(ROLLOUTS.c.id == rollout).values(progress=progress))


def _read(connection: Connection, rollout_id: str) -> Rollout:
    row = connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.id == rollout_id)).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no rollout {rollout_id!r}: list them with: acclimate rollout list")
    return rows.rollout_of(row)


def _fleet_after(fleet: Fleet, rollout: Rollout) -> Fleet:
    if rollout.state is State.DONE:
        return with_baseline(fleet, rollout.plan.target, rollout.plan.release, fleet.revision)
    return replace(fleet, floor=fleet.revision) if rollout.state in ENDED else fleet


def _audit(connection: Connection, rollout: Rollout, at: float, actor: str, action: str, detail: str) -> None:
    entry = AuditEntry(at, actor, action, f"rollout {rollout.id}", detail, rollout.plan.fleet)
    write_audit(connection, entry)
