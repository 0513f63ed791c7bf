"""The store over a relational database, and its migrations."""

from __future__ import annotations

import logging
import re
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from acclimate.errors import RolloutError
from acclimate.rollout.store.access import AccessTables
from acclimate.rollout.store.campaigns import CampaignTables
from acclimate.rollout.store.database import Database, check_encoding, unreachable
from acclimate.rollout.store.devices import DeviceTable
from acclimate.rollout.store.fleets import FleetTables
from acclimate.rollout.store.leases import LEASES, LeaseTable
from acclimate.rollout.store.machines import MachineTable
from acclimate.rollout.store.reports import ReportTables
from acclimate.rollout.store.rollouts import RolloutTables
from acclimate.rollout.store.sqlite_file import check_ours

logger = logging.getLogger(__name__)

READINESS = "readiness"
MIGRATION_LOCK = 0x41_43_43_4D
"""Held while migrating, so that replicas that start together migrate one after another."""


class Store(
    FleetTables,
    DeviceTable,
    MachineTable,
    RolloutTables,
    ReportTables,
    AccessTables,
    CampaignTables,
    LeaseTable,
):
    """The database of the service, SQLite or PostgreSQL; the same tests run over both.

    * Each call is one transaction: whole or not at all. Calls that change something a device could notice
      raise the fleet's revision in that transaction, and none that does not.
    * Every change by a person is in the audit log, written in the same transaction.
    * Times are seconds since the epoch and come from the caller.
    * An unknown fleet, device, rollout or token is a `RolloutError` that names it.
    * Calls block; a server runs them in threads, which may share a store.

    Each base holds one group of tables; none overrides another.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watched = {}

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._database.engine.dialect.name

    def close(self) -> None:
        """Give connections back."""
        self._database.close()

    def ping(self, now: float) -> None:
        """Write something, and raise if that cannot be done: what only answers questions serves nobody."""
        with self._database.write() as connection:
            mark = self._database.insert(LEASES).values(name=READINESS, holder="", token=0, expires_at=now)
            changed = {"expires_at": now}
            connection.execute(mark.on_conflict_do_update(index_elements=["name"], set_=changed))


def open_store(url: str) -> Store:
    """Connect and bring the schema up to date.

    Args:
        url: `sqlite:///path` or `postgresql://user:password@host:port/name`.

    Raises:
        RolloutError: the URL is wrong, or the database cannot be reached.
    """
    database = Database.connect(url)
    try:
        with database.write() as connection:
            check_encoding(connection)
            migrate(connection)
    except DBAPIError as error:
        database.close()
        raise unreachable(url, error) from error
    return Store(database)


def migrate(connection: Connection, revision: str = "head") -> None:
    """Apply the migrations that are missing, up to `revision`; none to a schema that a newer version made.

    Raises:
        RolloutError: the schema is one of which no version knows, or something else lives here.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))  # another replica may migrate for long
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    tables = inspect(connection).get_table_names()
    check_ours(tables, "the database")
    config = Config()
    config.set_main_option("script_location", str(files("acclimate.rollout.store") / "migrations"))
    config.attributes["connection"] = connection
    if "alembic_version" in tables and _is_newer(connection, ScriptDirectory.from_config(config)):
        return
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise RolloutError(
            f"the database's schema is of another version of Acclimate ({error}): run that or a newer one"
        ) from error


def _is_newer(connection: Connection, script: ScriptDirectory) -> bool:
    """Whether a newer version was here, as before `helm rollback`: migrations only add to what is ours."""
    here = connection.scalar(text("SELECT version_num FROM alembic_version"))
    head = str(script.get_current_head())
    if here is None or here in {known.revision for known in script.walk_revisions()}:
        return False
    if not re.fullmatch("[0-9]{4,}", here) or int(here) < int(head):
        raise RolloutError(
            f"the database's schema has the revision {here!r}, of which this version of Acclimate, made for "
            f"{head!r}, does not know: run the version that made it, or restore a backup into an empty one"
        )
    logger.warning("event=schema_newer revision=%s ours=%s", here, head)
    return True
