"""MLflow's tables brought to the schema of the MLflow that is installed, by one process at a time.

MLflow makes its tables when a process first opens an empty store, and refuses a store whose schema is older.
Two first processes meet half-made tables; a store that outlives an upgrade stands still. So the embedded
store is migrated here before it is opened, and the chart runs this module before its MLflow server starts:

    MLFLOW_BACKEND_STORE_URI=postgresql+psycopg://... python -m acclimate.registry.migration
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acclimate.errors import RegistryError

_LOCK = 0x6D6C666C6F77  # "mlflow", for PostgreSQL's advisory locks


def migrate(uri: str) -> bool:
    """Bring the database at `uri` to the current schema; tables are made in an empty one.

    Args:
        uri: of SQLAlchemy, such as `sqlite:////path/mlflow.db`.

    Returns:
        Whether anything had to be done.

    Raises:
        RegistryError: the database cannot be reached, or its schema is newer than this MLflow knows.
    """
    import sqlalchemy
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils
    from sqlalchemy.exc import SQLAlchemyError

    try:
        utils._make_parent_dirs_if_sqlite(uri)
        engine = utils.create_sqlalchemy_engine(uri)
        if _is_current(engine):
            return False
        with _alone(engine):
            if _is_current(engine):  # another process was quicker
                return False
            if not utils._is_empty_database(engine):
                utils._upgrade_db(engine)
            elif engine.dialect.name == "sqlite":
                _fill(engine)
            else:
                utils._initialize_tables(engine)
        return True
    except (SQLAlchemyError, CommandError, MlflowException, OSError) as error:
        where = sqlalchemy.engine.make_url(uri).render_as_string()
        first_line = str(error).strip().partition("\n")[0]
        raise RegistryError(
            f"MLflow's database {where} cannot be brought to this version's schema ({first_line}): is it "
            "reachable, and was it last used by a newer MLflow? Take a backup before trying again"
        ) from error


def _is_current(engine: Any) -> bool:
    from mlflow.store.db import utils

    return bool(
        utils._get_schema_version(engine) == utils._get_latest_schema_revision()
        and utils._all_tables_exist(engine)
    )


def _fill(engine: Any) -> None:
    """Make the tables of an empty SQLite store in memory, and write them in one piece.

    MLflow's migrations wait for the disk hundreds of times, seconds in all, and leave half a store where the
    process is killed between two of them.
    """
    import sqlalchemy
    from mlflow.store.db import utils

    made: Any = sqlalchemy.create_engine("sqlite://")
    utils._initialize_tables(made)
    with made.connect() as source, engine.connect() as target:
        source.connection.driver_connection.backup(target.connection.driver_connection)
    made.dispose()


@contextmanager
def _alone(engine: Any) -> Iterator[None]:
    """Only one process at a time is inside, for one database."""
    import sqlalchemy

    if engine.dialect.name == "sqlite" and engine.url.database:
        path = Path(engine.url.database)
        with path.with_name(f".{path.name}.migration").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    elif engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
    else:
        yield


def main() -> int:
    """Migrate the store that MLFLOW_BACKEND_STORE_URI names; what to mend in one line where it cannot be."""
    uri = os.environ.get("MLFLOW_BACKEND_STORE_URI", "")
    if not uri:
        print("MLFLOW_BACKEND_STORE_URI is empty: name the database of the MLflow server", file=sys.stderr)
        return 2
    try:
        print("migrated" if migrate(uri) else "the schema is current")
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
