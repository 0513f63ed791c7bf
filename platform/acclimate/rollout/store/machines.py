"""Which machine asks under a device's identity, in SQL; see `domain.machines`."""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from acclimate.rollout.domain.fleet import Device
from acclimate.rollout.domain.machines import Machine, started
from acclimate.rollout.store import rows, tables
from acclimate.rollout.store.database import Database, upsert
from acclimate.rollout.store.devices import forget_machine, read_device, write_device
from acclimate.rollout.store.fleets import audit_fleet, next_fleet, write_fleet
from acclimate_device.protocol import Start

DEVICES, MACHINES = tables.devices, tables.machines
COLUMNS = rows.names(Machine)
_MACHINE = select(MACHINES).where(
    MACHINES.c.fleet == bindparam("fleet"), MACHINES.c.device == bindparam("device")
)
_KEEP = {
    made is sqlite.insert: upsert(made(MACHINES), ["fleet", "device"], COLUMNS)
    for made in (sqlite.insert, postgresql.insert)
}
"""To keep a machine, on SQLite and on others: making the statement costs as much as executing it."""


class MachineTable:
    """The part of `Store` about identities and the machines behind them."""

    _database: Database

    def start(self, fleet: str, device_id: str, start: Start, now: float, late: bool = False) -> Device:
        """Take in that a start of a device's agent asked, as `domain.machines` judges it; the device, which
        is held from then on if two machines must be behind it."""
        with self._database.read() as connection:
            known = _read(connection, fleet, device_id)
            if started(known, start, now, late) == (known, ""):
                return read_device(connection, fleet, device_id)
        with self._database.write() as connection:
            owner = next_fleet(connection, fleet, now)  # locks: two starts are judged one after the other
            device, known = read_device(connection, fleet, device_id), _read(connection, fleet, device_id)
            machine, why = started(known, start, now, late)
            _write(self._database, connection, fleet, device_id, machine)
            if why and device.doubled_at is None:
                device = replace(device, doubled_at=now, doubled=why, revision=owner.revision)
                write_device(connection, device)
                write_fleet(connection, owner)
                audit_fleet(connection, owner, now, "service", "device.doubled", f"{device_id} {why}")
            elif known is not None and known.hardware != machine.hardware:
                detail = f"{device_id} {known.hardware[:8] or 'unknown'} to {machine.hardware[:8]}"
                audit_fleet(connection, owner, now, "service", "device.moved", detail)
        return device

    def resolve_device(self, fleet: str, device_id: str, now: float, actor: str) -> Device:
        """One machine has the identity again: the first that asks from now on."""
        with self._database.write() as connection:
            owner = next_fleet(connection, fleet, now)
            before = read_device(connection, fleet, device_id)
            if before.doubled_at is None:
                return before
            device = replace(before, doubled_at=None, doubled="", revision=owner.revision)
            write_device(connection, device)
            forget_machine(connection, device)
            write_fleet(connection, owner)
            audit_fleet(connection, owner, now, actor, "device.resolve", device_id)
        return device

    def doubled_devices(self, fleet: str) -> list[Device]:
        """The devices that are held because two machines use their identity."""
        query = select(DEVICES).where(DEVICES.c.fleet == fleet, DEVICES.c.doubled_at.is_not(None))
        with self._database.read(long=True) as connection:
            found = connection.execute(query.where(DEVICES.c.retired_at.is_(None)).order_by(DEVICES.c.id))
            return [rows.device_of(row) for row in found.mappings()]


def _read(connection: Connection, fleet: str, device_id: str) -> Machine | None:
    row = connection.execute(_MACHINE, {"fleet": fleet, "device": device_id}).mappings().first()
    if row is None:
        return None
    return Machine(**{name: row[name] for name in COLUMNS} | {"earlier": tuple(json.loads(row["earlier"]))})


def _write(database: Database, connection: Connection, fleet: str, device_id: str, machine: Machine) -> None:
    values = rows.plain(machine) | {"earlier": json.dumps(machine.earlier)}
    connection.execute(_KEEP[database.is_sqlite], values | {"fleet": fleet, "device": device_id})
