"""Migrations lead to the tables that the code uses, and back to nothing."""

from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from acclimate.rollout.store.database import Database
from acclimate.rollout.store.sql import migrate
from acclimate.rollout.store.tables import metadata


def database(folder: Path) -> Database:
    return Database.connect(f"sqlite:///{folder / 'rollout.db'}")


def test_migrations_lead_to_the_tables(tmp_path: Path):
    with database(tmp_path).write() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_again_changes_nothing(tmp_path: Path):
    for _ in range(2):
        with database(tmp_path).write() as connection:
            migrate(connection)


def test_migrations_can_be_taken_back(tmp_path: Path):
    with database(tmp_path).write() as connection:
        migrate(connection)
        config = Config()
        config.set_main_option("script_location", str(files("acclimate.rollout.store") / "migrations"))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
