"""The store over a relational database, and its migrations."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from acclimate.rollout.store.access import AccessTables
from acclimate.rollout.store.database import Database, unreachable
from acclimate.rollout.store.devices import DeviceTable
from acclimate.rollout.store.fleets import FleetTables
from acclimate.rollout.store.leases import LeaseTable
from acclimate.rollout.store.reports import ReportTables
from acclimate.rollout.store.rollouts import RolloutTables

MIGRATION_LOCK = 0x41_43_43_4D
"""Held while migrating, so that replicas that start together migrate one after another."""


class SqlStore(FleetTables, DeviceTable, RolloutTables, ReportTables, AccessTables, LeaseTable):
    """`Store` over SQLite or PostgreSQL. Each base holds one group of tables; none overrides another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._database.engine.dialect.name

    def close(self) -> None:
        self._database.close()

    def ping(self) -> None:
        with self._database.read() as connection:
            connection.execute(text("SELECT 1"))


def open_store(url: str) -> SqlStore:
    """Connect and bring the schema up to date.

    Args:
        url: `sqlite:///path` or `postgresql://user:password@host:port/name`.

    Raises:
        RolloutError: the URL is wrong, or the database cannot be reached.
    """
    database = Database.connect(url)
    try:
        with database.write() as connection:
            migrate(connection)
    except DBAPIError as error:
        database.close()
        raise unreachable(url, error) from error
    return SqlStore(database)


def migrate(connection: Connection) -> None:
    """Apply the migrations that are missing."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(files("acclimate.rollout.store") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
