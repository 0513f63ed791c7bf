"""Devices in SQL: enrolment, attributes, retirement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from acclimate.errors import RolloutError
from acclimate.rollout.domain.fleet import Attributes, Device, Fleet, Member
from acclimate.rollout.store import rows, tables
from acclimate.rollout.store.contract import ConflictError, EnrolmentRefusedError, NotFoundError
from acclimate.rollout.store.database import Database
from acclimate.rollout.store.fleets import audit_fleet, fleet_row, next_fleet, raised, write_fleet

DEVICES, ENROLMENTS, MACHINES = tables.devices, tables.enrolment_tokens, tables.machines
ASK = "ask an operator for a new one"
# Made once: to make a statement costs as much as to run it.
_TOKEN = select(ENROLMENTS).where(ENROLMENTS.c.hash == bindparam("hash"))
_LET_IN = select(DEVICES).where(
    DEVICES.c.enrolment == bindparam("enrolment"), DEVICES.c.public_key == bindparam("public_key")
)
_WITH_KEY = select(DEVICES).where(
    DEVICES.c.fleet == bindparam("fleet"), DEVICES.c.public_key == bindparam("public_key")
)
_DEVICE = select(DEVICES).where(DEVICES.c.fleet == bindparam("fleet"), DEVICES.c.id == bindparam("id"))


@dataclass(frozen=True, slots=True)
class Tally:
    """What limits enrolments, counted once and kept with the fleet: any change of its devices raises its
    revision.

    Attributes:
        revision: of the fleet when this was true.
        devices: that are not retired.
        token: id of the enrolment token that was used last.
        used: devices that it let in.
    """

    revision: int
    devices: int
    token: str
    used: int


class DeviceTable:
    """The part of `Store` about devices."""

    _database: Database

    def enrol(self, token_hash: str, device: Device, now: float) -> Device:
        """Spend one use of an enrolment token and add the device; its fleet is the token's.

        The same token and public key again give the device enrolled before; a token made after
        a device was retired brings it back. A known id with another key is a ConflictError.
        """
        with self._database.write() as connection:
            row = connection.execute(_TOKEN, {"hash": token_hash}).mappings().first()
            if row is None:
                raise EnrolmentRefusedError(f"the enrolment token is unknown: {ASK}")
            kept = fleet_row(connection, row["fleet"], lock=True)  # two devices never share a last use
            fleet = raised(rows.fleet_of(kept), now)
            known = {"enrolment": row["id"], "public_key": device.public_key}
            again = connection.execute(_LET_IN, known).mappings().first()
            if again is not None:
                return rows.device_of(again)
            tally = _tally(connection, kept, row)
            _check_enrolment(row, tally, now)
            held = _with_key(connection, fleet.name, device.public_key)
            if held is not None:
                return _enrolled_anew(connection, held, device, row, fleet, tally, now)
            _check_room(fleet, tally.devices, 1)
            device = replace(device, fleet=fleet.name, enrolment=row["id"], revision=fleet.revision)
            _insert_devices(connection, [device])
            counted = Tally(fleet.revision, tally.devices + 1, tally.token, tally.used + 1)
            write_fleet(connection, fleet, tally=json.dumps(astuple(counted)))
            audit_fleet(connection, fleet, now, f"enrolment {row['id']}", "device.enrol", device.id)
        return device

    def add_devices(self, devices: Sequence[Device], now: float, actor: str) -> None:
        """Add devices of one fleet in bulk. ConflictError if one exists already."""
        if not devices:
            return
        names = {device.fleet for device in devices}
        if len(names) != 1:
            raise RolloutError(f"devices of {len(names)} fleets in one call: add one fleet's at a time")
        with self._database.write() as connection:
            fleet = next_fleet(connection, names.pop(), now)
            _check_room(fleet, _count_devices(connection, fleet.name), len(devices))
            _insert_devices(connection, [replace(device, revision=fleet.revision) for device in devices])
            write_fleet(connection, fleet)
            audit_fleet(connection, fleet, now, actor, "device.add", f"{len(devices)} devices")

    def device(self, fleet: str, device_id: str) -> Device:
        with self._database.read() as connection:
            return read_device(connection, fleet, device_id)

    def devices(
        self, fleet: str, *, after: str = "", limit: int = 100, contains: str = "", retired: bool = False
    ) -> list[Device]:
        """A page of devices by id, those after `after` whose id contains `contains`."""
        query = select(DEVICES).where(DEVICES.c.fleet == fleet, DEVICES.c.id > after)
        if contains:
            query = query.where(DEVICES.c.id.contains(contains, autoescape=True))
        if not retired:
            query = query.where(DEVICES.c.retired_at.is_(None))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(DEVICES.c.id).limit(limit))
            return [rows.device_of(row) for row in found.mappings()]

    def count_devices(self, fleet: str) -> int:
        """Devices that are not retired."""
        with self._database.read() as connection:
            return _count_devices(connection, fleet)

    def members(self, fleet: str) -> list[Member]:
        """Every device of a fleet that is not retired, in its small form."""
        query = select(DEVICES).where(DEVICES.c.fleet == fleet, DEVICES.c.retired_at.is_(None))
        with self._database.read(long=True) as connection:
            return [rows.member_of(row) for row in connection.execute(query).mappings()]

    def set_attributes(
        self,
        fleet: str,
        device_id: str,
        attributes: Attributes,
        now: float,
        actor: str,
        sdk: str | None = None,
    ) -> Device:
        """Replace a device's attributes; equal ones change nothing."""
        with self._database.write() as connection:
            before = read_device(connection, fleet, device_id)
            device = replace(before, attributes=dict(attributes), sdk=before.sdk if sdk is None else sdk)
            if device == before:
                return before
            if device.attributes != before.attributes:
                owner = next_fleet(connection, fleet, now)
                write_fleet(connection, owner)
                device = replace(device, revision=owner.revision)
                detail = f"{device_id} {rows.attributes_text(attributes)}"
                audit_fleet(connection, owner, now, actor, "device.attributes", detail)
            write_device(connection, device)
        return device

    def change_key(self, fleet: str, device_id: str, public_key: str, now: float) -> Device:
        """Give a device another key, which ends its bearer tokens; the same again changes nothing.
        ConflictError if another device of the fleet has the key."""
        with self._database.write() as connection:
            owner = next_fleet(connection, fleet, now)
            before = read_device(connection, fleet, device_id)
            if before.public_key == public_key:
                return before
            if _with_key(connection, fleet, public_key) is not None:
                raise ConflictError(f"another device of fleet {fleet!r} has this key: make a new one")
            device = replace(before, public_key=public_key, epoch=before.epoch + 1, revision=owner.revision)
            write_device(connection, device)
            write_fleet(connection, owner)
            audit_fleet(connection, owner, now, f"device {device_id}", "device.key", device_id)
        return device

    def retire_device(self, fleet: str, device_id: str, now: float, actor: str) -> Device:
        """Refuse a device from now on."""
        with self._database.write() as connection:
            owner = next_fleet(connection, fleet, now)
            before = read_device(connection, fleet, device_id)
            if before.retired_at is not None:
                return before
            device = replace(before, retired_at=now, epoch=before.epoch + 1, revision=owner.revision)
            write_device(connection, device)
            write_fleet(connection, owner)
            audit_fleet(connection, owner, now, actor, "device.retire", device_id)
        return device


def read_device(connection: Connection, fleet: str, device_id: str) -> Device:
    """One device of a fleet."""
    row = connection.execute(_DEVICE, {"fleet": fleet, "id": device_id}).mappings().first()
    if row is None:
        remedy = f"list them with: acclimate device list {fleet}"
        raise NotFoundError(f"fleet {fleet!r} has no device {device_id!r}: {remedy}")
    return rows.device_of(row)


def write_device(connection: Connection, device: Device) -> None:
    """Store a device that exists."""
    here = (DEVICES.c.fleet == device.fleet) & (DEVICES.c.id == device.id)
    connection.execute(update(DEVICES).where(here).values(rows.device_values(device)))


def forget_machine(connection: Connection, device: Device) -> None:
    """The first machine that asks from now on is the device's."""
    here = (MACHINES.c.fleet == device.fleet) & (MACHINES.c.device == device.id)
    connection.execute(delete(MACHINES).where(here))


def _insert_devices(connection: Connection, devices: Sequence[Device]) -> None:
    try:
        connection.execute(DEVICES.insert(), [rows.device_values(device) for device in devices])
    except IntegrityError:
        shown = devices[0].id if len(devices) == 1 else f"one of {len(devices)}"
        raise ConflictError(
            f"device {shown} is enrolled in fleet {devices[0].fleet!r} already: choose another id"
        ) from None


def _tally(connection: Connection, fleet: rows.Row, token: rows.Row) -> Tally:
    """The tally of the fleet as it is now, locked: to count takes longer the more devices there are."""
    known = Tally(*json.loads(fleet["tally"])) if fleet["tally"] else None
    same = known is not None and known.revision == fleet["revision"]
    devices = known.devices if known and same else _count_devices(connection, fleet["name"])
    if known and same and known.token == token["id"]:
        return known
    query = select(func.count()).select_from(DEVICES).where(DEVICES.c.enrolment == token["id"])
    return Tally(fleet["revision"], devices, token["id"], connection.scalar(query) or 0)


def _check_enrolment(token: rows.Row, tally: Tally, now: float) -> None:
    if token["revoked_at"] is not None:
        raise EnrolmentRefusedError(
            f"enrolment token {token['id']} is revoked: ask an operator for a new one"
        )
    if token["expires_at"] is not None and now >= token["expires_at"]:
        raise EnrolmentRefusedError(
            f"enrolment token {token['id']} has expired: ask an operator for a new one"
        )
    if tally.used >= token["quota"]:
        raise EnrolmentRefusedError(
            f"enrolment token {token['id']} is spent: it let in {token['quota']} devices"
        )


def _with_key(connection: Connection, fleet: str, public_key: str) -> Device | None:
    found = connection.execute(_WITH_KEY, {"fleet": fleet, "public_key": public_key}).mappings().first()
    return None if found is None else rows.device_of(found)


def _enrolled_anew(
    connection: Connection,
    before: Device,
    given: Device,
    token: rows.Row,
    fleet: Fleet,
    tally: Tally,
    now: float,
) -> Device:
    """The same device under a new token; the bearer tokens it had are void.

    One that was retired comes back only with a token made after that, and one that two machines used is held
    no more: whoever made the token knew.
    """
    if before.retired_at is not None:
        if token["created_at"] <= before.retired_at:
            return before
        _check_room(fleet, tally.devices, 1)
    device = replace(
        before,
        enrolment=token["id"],
        retired_at=None,
        doubled_at=None,
        doubled="",
        epoch=before.epoch + 1,
        revision=fleet.revision,
        attributes=given.attributes or before.attributes,
        hardware_id=given.hardware_id or before.hardware_id,
        sdk=given.sdk or before.sdk,
    )
    write_device(connection, device)
    forget_machine(connection, device)
    write_fleet(connection, fleet)
    audit_fleet(connection, fleet, now, f"enrolment {token['id']}", "device.enrol-again", device.id)
    return device


def _check_room(fleet: Fleet, devices: int, more: int) -> None:
    if devices + more > fleet.device_quota:
        raise EnrolmentRefusedError(
            f"fleet {fleet.name!r} has room for {fleet.device_quota} devices: retire some or raise its quota"
        )


def _count_devices(connection: Connection, fleet: str) -> int:
    query = select(func.count()).select_from(DEVICES)
    return connection.scalar(query.where(DEVICES.c.fleet == fleet, DEVICES.c.retired_at.is_(None))) or 0
