"""Fleets in SQL, and what changed in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, bindparam, select, update
from sqlalchemy.exc import IntegrityError

from acclimate.errors import RolloutError
from acclimate.rollout.domain.access import AuditEntry
from acclimate.rollout.domain.assignment import with_baseline
from acclimate.rollout.domain.fleet import Fleet, next_revision
from acclimate.rollout.domain.rollout import LIVE
from acclimate.rollout.domain.target import parse_target
from acclimate.rollout.store import rows, tables
from acclimate.rollout.store.access import write_audit
from acclimate.rollout.store.contract import (
    ConflictError,
    FleetChanges,
    NotFoundError,
)
from acclimate.rollout.store.database import Database
from acclimate_device.protocol import Release

FLEETS, DEVICES, ROLLOUTS, GIVEN = tables.fleets, tables.devices, tables.rollouts, tables.given_releases

_FLEET = select(FLEETS).where(FLEETS.c.name == bindparam("name"))
_LOCKED = _FLEET.with_for_update()


class FleetTables:
    """The part of `Store` about fleets."""

    _database: Database

    def add_fleet(self, fleet: Fleet, actor: str) -> Fleet:
        """Create a fleet. ConflictError if the name is taken."""
        fleet = replace(fleet, revision=next_revision(fleet.revision, fleet.created_at))
        with self._database.write() as connection:
            try:
                connection.execute(FLEETS.insert().values(rows.fleet_values(fleet)))
            except IntegrityError:
                raise ConflictError(f"fleet {fleet.name!r} exists already: choose another name") from None
            audit_fleet(connection, fleet, fleet.created_at, actor, "fleet.create")
        return fleet

    def fleet(self, name: str) -> Fleet:
        with self._database.read() as connection:
            return read_fleet(connection, name)

    def fleets(self) -> list[Fleet]:
        """All fleets by name."""
        with self._database.read() as connection:
            found = connection.execute(select(FLEETS).order_by(FLEETS.c.name))
            return [rows.fleet_of(row) for row in found.mappings()]

    def configure_fleet(
        self,
        name: str,
        now: float,
        actor: str,
        *,
        poll_interval_s: float | None = None,
        device_quota: int | None = None,
    ) -> Fleet:
        if poll_interval_s is not None and not poll_interval_s > 0:
            raise RolloutError(f"poll_interval_s is {poll_interval_s:g}: use seconds above 0")
        if device_quota is not None and device_quota < 0:
            raise RolloutError(f"device_quota is {device_quota}: use 0 or more")
        with self._database.write() as connection:
            fleet = next_fleet(connection, name, now)
            if poll_interval_s not in (None, fleet.poll_interval_s):
                # The interval is part of what is signed, so it changes with the counter; and in a rollout a
                # new counter would start both arms afresh.
                _refuse_live(connection, name, "its poll interval changes")
                fleet = replace(fleet, floor=fleet.revision)
            fleet = replace(
                fleet,
                poll_interval_s=fleet.poll_interval_s if poll_interval_s is None else poll_interval_s,
                device_quota=fleet.device_quota if device_quota is None else device_quota,
            )
            write_fleet(connection, fleet)
            detail = f"poll_interval_s={fleet.poll_interval_s:g} device_quota={fleet.device_quota}"
            audit_fleet(connection, fleet, now, actor, "fleet.configure", detail)
        return fleet

    def set_baseline(self, name: str, target: str, release: Release, now: float, actor: str) -> Fleet:
        """Make `release` what matching devices run, without a rollout: for the first one of a fleet.
        ConflictError while a rollout is live."""
        parse_target(target)
        with self._database.write() as connection:
            fleet = next_fleet(connection, name, now)
            _refuse_live(connection, name, "the baseline moves")
            fleet = with_baseline(fleet, target, release, fleet.revision)
            write_fleet(connection, fleet)
            note_given(self._database, connection, name, release, now)
            detail = f"{release.name} version {release.version} {release.content_hash} target={target!r}"
            audit_fleet(connection, fleet, now, actor, "fleet.baseline", detail)
        return fleet

    def given_releases(self, name: str) -> list[Release]:
        """Every release that was ever the fleet's baseline or planned for it, the earliest first."""
        with self._database.read() as connection:
            return read_given(connection, name)

    def changes(self, known: Mapping[str, int]) -> list[FleetChanges]:
        """What changed in any fleet since the revisions known; everything of fleets not in `known`. One
        small query when nothing did."""
        with self._database.read(long=True) as connection:
            revisions = connection.execute(select(FLEETS.c.name, FLEETS.c.revision)).all()
            changed = [name for name, revision in revisions if known.get(name) != revision]
            return [_changes_of(connection, name, known.get(name)) for name in changed]


def read_fleet(connection: Connection, name: str, lock: bool = False) -> Fleet:
    """A fleet, for the rest of this transaction if `lock`."""
    return rows.fleet_of(fleet_row(connection, name, lock))


def fleet_row(connection: Connection, name: str, lock: bool = False) -> rows.Row:
    """A fleet with its tally, likewise."""
    row = connection.execute(_LOCKED if lock else _FLEET, {"name": name}).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no fleet {name!r}: create it, or list them with: acclimate fleet list")
    return row


def note_given(database: Database, connection: Connection, fleet: str, release: Release, at: float) -> None:
    """Remember that a fleet was given a release."""
    values = {"fleet": fleet, **vars(release), "given_at": at}
    connection.execute(database.insert(GIVEN).values(values).on_conflict_do_nothing())


def read_given(connection: Connection, fleet: str) -> list[Release]:
    """What `Store.given_releases` says."""
    query = select(GIVEN).where(GIVEN.c.fleet == fleet).order_by(GIVEN.c.given_at, GIVEN.c.version)
    found = connection.execute(query).mappings()
    return [Release(row["name"], row["version"], row["content_hash"]) for row in found]


def next_fleet(connection: Connection, name: str, now: float) -> Fleet:
    """The fleet, locked, at its next revision, which `write_fleet` stores."""
    return raised(read_fleet(connection, name, lock=True), now)


def raised(fleet: Fleet, now: float) -> Fleet:
    """The fleet at its next revision."""
    return replace(fleet, revision=next_revision(fleet.revision, now))


def write_fleet(connection: Connection, fleet: Fleet, **more: str) -> None:
    """Store a fleet that exists, with `more` columns, but not its name: for a name it is given, SQLite looks
    through all that refer to it."""
    values = rows.fleet_values(fleet) | more
    del values["name"]
    connection.execute(update(FLEETS).where(FLEETS.c.name == fleet.name).values(values))


def _changes_of(connection: Connection, name: str, since: int | None) -> FleetChanges:
    fleet = read_fleet(connection, name)
    row = connection.execute(select(ROLLOUTS).where(_live_of(name))).mappings().first()
    query = select(DEVICES).where(DEVICES.c.fleet == name)
    query = query.where(DEVICES.c.retired_at.is_(None) if since is None else DEVICES.c.revision > since)
    members = [rows.member_of(found) for found in connection.execute(query).mappings()]
    return FleetChanges(fleet, rows.rollout_of(row) if row else None, members)


def _refuse_live(connection: Connection, name: str, before: str) -> None:
    live = connection.scalar(select(ROLLOUTS.c.id).where(_live_of(name)))
    if live is not None:
        raise ConflictError(f"rollout {live} of fleet {name!r} is live: end it before {before}")


def _live_of(fleet: str) -> ColumnElement[bool]:
    return (ROLLOUTS.c.fleet == fleet) & ROLLOUTS.c.state.in_([state.value for state in LIVE])


def audit_fleet(
    connection: Connection, fleet: Fleet, at: float, actor: str, action: str, detail: str = ""
) -> None:
    """Note a change to a fleet or its devices."""
    write_audit(connection, AuditEntry(at, actor, action, f"fleet {fleet.name}", detail, fleet.name))
