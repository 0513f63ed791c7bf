"""Reports in SQL: stored once each, counted from rows, summed up before they are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Integer,
    Select,
    and_,
    case,
    cast,
    delete,
    distinct,
    func,
    select,
)

from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.retraining import Drifted
from acclimate.rollout.domain.rollout import ENDED, LIVE
from acclimate.rollout.domain.settle import MOST
from acclimate.rollout.store import rows, tables
from acclimate.rollout.store.contract import Counts
from acclimate.rollout.store.database import Database
from acclimate.rollout.store.fleets import read_given
from acclimate.rollout.store.leases import guard
from acclimate_device.protocol import Release

REPORTS, COUNTS = tables.reports, tables.report_counts
KEY = ["fleet", "name", "version", "content_hash", "hour"]
SUMS = [
    "examples",
    "loss_sum",
    "adapted_examples",
    "adapted_loss_sum",
    "predictions",
    "adaptations",
    "kept_starts",
    "drifts",
    "fallbacks",
    "alarms",
]
SUMMED = ["reports", *SUMS, "refusals"]
COUNTED = [name for name in SUMMED if not name.endswith("loss_sum")]
WITHOUT_PAYLOAD = [REPORTS.c[name] for name in rows.names(ReportRecord, "payload")]
STORED = rows.names(ReportRecord, "sequence")
_VALUES = attrgetter(*STORED)
HOUR_S = 3600
ORDER_LOCK = 0x41_43_43_4C  # any number of our own: "ACCL"
"""Held until a commit of reports ends, so that sequence numbers become visible in their order."""
OTHER = Release("other", 1, "0" * 64)
"""Stands for every release that a fleet was never given: factory initializations, and invented ones."""


class ReportTables:
    """The part of `Store` about reports."""

    _database: Database

    def add_reports(self, reports: Sequence[ReportRecord]) -> int:
        """Store those not known yet, in one commit; how many were new."""
        if not reports:
            return 0
        values = list(map(_VALUES, reports))
        with self._database.write_once() as connection:
            return self._database.insert_new(connection, REPORTS, STORED, values, ORDER_LOCK)

    def reports_after(self, fleet: str, sequence: int, limit: int = 10_000) -> list[ReportRecord]:
        """A fleet's reports in the order of their commits; no later commit ever slips in before one seen.
        `payload` is left out."""
        query = select(*WITHOUT_PAYLOAD).where(REPORTS.c.fleet == fleet, REPORTS.c.sequence > sequence)
        return self._records(query.order_by(REPORTS.c.sequence).limit(limit))

    def last_sequence(self, fleet: str) -> int:
        """Sequence of the fleet's latest report; 0 without one."""
        query = select(func.max(REPORTS.c.sequence)).where(REPORTS.c.fleet == fleet)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def device_reports(self, fleet: str, device: str, limit: int = 50) -> list[ReportRecord]:
        """A device's latest reports, newest first, with payloads."""
        query = select(REPORTS).where(REPORTS.c.fleet == fleet, REPORTS.c.device == device)
        return self._records(query.order_by(REPORTS.c.sequence.desc()).limit(limit))

    def last_reports(self, fleet: str, devices: Sequence[str]) -> dict[str, ReportRecord]:
        """The latest report of each device that has one, without payload."""
        latest = (
            select(func.max(REPORTS.c.sequence))
            .where(REPORTS.c.fleet == fleet, REPORTS.c.device.in_(devices))
            .group_by(REPORTS.c.device)
        )
        records = self._records(select(*WITHOUT_PAYLOAD).where(REPORTS.c.sequence.in_(latest)))
        return {record.device: record for record in records}

    def counts(self, fleet: str, since: float = 0.0) -> list[Counts]:
        """Counts by release and hour, oldest first."""
        first = int(since // HOUR_S)
        fresh = _summed().where(REPORTS.c.fleet == fleet, REPORTS.c.received_at >= first * HOUR_S)
        kept = select(COUNTS).where(COUNTS.c.fleet == fleet, COUNTS.c.hour >= first)
        with self._database.read() as connection:
            found = [*connection.execute(fresh).mappings(), *connection.execute(kept).mappings()]
            given = read_given(connection, fleet)
        return _merged(found, given)

    def drifted(self, fleet: str, content_hashes: Sequence[str] | None, since: float) -> Drifted:
        """How many devices reported under one of these releases (None: any) since a moment, and how many of
        them noticed drift."""
        recent = and_(REPORTS.c.fleet == fleet, REPORTS.c.received_at >= since)
        if content_hashes is not None:
            recent = and_(recent, REPORTS.c.content_hash.in_(content_hashes))
        device = distinct(REPORTS.c.device)
        query = select(func.count(device), func.count(device).filter(REPORTS.c.drifts > 0)).where(recent)
        with self._database.read() as connection:
            devices, drifted = connection.execute(query).one()
        return Drifted(devices, drifted, since)

    def prune(self, before: float, token: int, limit: int = 5_000) -> int:
        """Sum up and delete up to `limit` of the reports received before `before` that live rollouts have
        read, but never a device's latest; delete observations of rollouts that ended before it. How many
        reports went; call again until it is 0."""
        with self._database.write() as connection:
            guard(connection, token)
            self._database.one_after_another(connection, ORDER_LOCK)
            chosen = REPORTS.c.sequence.in_(_prunable(connection, before, limit))
            summed = _known(connection, connection.execute(_summed().where(chosen)).mappings().all())
            if summed:
                insert = self._database.insert(COUNTS)
                added = {name: _capped(COUNTS.c[name] + insert.excluded[name], name) for name in SUMMED}
                add = insert.on_conflict_do_update(index_elements=KEY, set_=added)
                connection.execute(add, summed)
            gone = connection.execute(delete(REPORTS).where(chosen)).rowcount
            _drop_old_observations(connection, before)
        return gone

    def _records(self, query: Select[Any]) -> list[ReportRecord]:
        with self._database.read() as connection:
            return [ReportRecord(**row) for row in connection.execute(query).mappings()]


def _prunable(connection: Connection, before: float, limit: int) -> Sequence[int]:
    """Old reports but each device's latest, as far as live rollouts have read them."""
    rollouts, newer = tables.rollouts, REPORTS.alias("newer")
    live = [state.value for state in LIVE]
    unread = (
        select(rollouts.c.id)
        .where(rollouts.c.fleet == REPORTS.c.fleet, rollouts.c.state.in_(live))
        .where(rollouts.c.progress < REPORTS.c.sequence)
        .exists()
    )
    superseded = (
        select(newer.c.sequence)
        .where(newer.c.fleet == REPORTS.c.fleet, newer.c.device == REPORTS.c.device)
        .where(newer.c.sequence > REPORTS.c.sequence)
        .exists()
    )
    old = REPORTS.c.received_at < before
    query = select(REPORTS.c.sequence).where(old, ~unread, superseded)
    return connection.scalars(query.order_by(REPORTS.c.sequence).limit(limit)).all()


def _summed() -> Select[Any]:
    hour = cast(func.floor(REPORTS.c.received_at / HOUR_S), BigInteger).label("hour")
    key = [REPORTS.c.fleet, REPORTS.c.name, REPORTS.c.version, REPORTS.c.content_hash]
    sums = [_sum_of(name) for name in SUMS]
    refusals = cast(func.sum(cast(REPORTS.c.refused, Integer)), BigInteger).label("refusals")
    return select(*key, hour, func.count().label("reports"), *sums, refusals).group_by(*key, hour)


def _sum_of(name: str) -> Any:
    """A sum in its column's own type. Added up as doubles, exact to 2^53, so that it never overflows: SQLite
    refuses the whole query for that, PostgreSQL the cast."""
    total = func.sum(cast(REPORTS.c[name], Double))
    return cast(_capped(total, name), REPORTS.c[name].type).label(name)


def _capped(total: Any, name: str) -> Any:
    """No more than every reader's integers hold; losses are doubles and need no cap."""
    return case((total > MOST, MOST), else_=total) if name in COUNTED else total


def _drop_old_observations(connection: Connection, before: float) -> None:
    """Decisions keep their evidence; the devices behind it go with their reports."""
    rollouts = tables.rollouts
    ended = select(rollouts.c.id).where(
        rollouts.c.state.in_([state.value for state in ENDED]),
        rollouts.c.changed_at < before,
    )
    connection.execute(delete(tables.observations).where(tables.observations.c.rollout.in_(ended)))


def _known(connection: Connection, found: Sequence[rows.Row]) -> list[dict[str, Any]]:
    """Rows to be kept for ever, with the releases that a fleet was never given as one."""
    kept: list[dict[str, Any]] = []
    for fleet in sorted({row["fleet"] for row in found}):
        ours = [row for row in found if row["fleet"] == fleet]
        for one in _merged(ours, read_given(connection, fleet)):
            values = {name: getattr(one, name) for name in SUMMED}
            hour = int(one.hour // HOUR_S)
            kept.append({"fleet": fleet, **vars(one.release), "hour": hour, **values})
    return kept


def _merged(found: Sequence[rows.Row], given: Sequence[Release]) -> list[Counts]:
    """Counts by release and hour. Names come from devices, so those that the fleet was never given share one
    row: whoever invents releases makes neither series nor lines of a chart."""
    totals: dict[tuple[Any, ...], dict[str, Any]] = {}
    known = set(given)
    for row in found:
        told = Release(row["name"], row["version"], row["content_hash"])
        release = told if told in known else OTHER
        key = (row["fleet"], release.name, release.version, release.content_hash, row["hour"])
        total = totals.setdefault(key, dict.fromkeys(SUMMED, 0))
        for name in SUMMED:
            total[name] += row[name]
            if name in COUNTED:
                total[name] = min(total[name], MOST)
    merged = []
    for (fleet, name, version, content_hash, hour), total in sorted(
        totals.items(), key=lambda item: (item[0][4], item[0])
    ):
        release = Release(name, version, content_hash)
        merged.append(Counts(fleet=fleet, release=release, hour=float(hour * HOUR_S), **total))
    return merged
