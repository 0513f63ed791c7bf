"""The whole database as files, one table a file, and back: from either kind of database into either.

What is written is one moment of the database, while the service goes on. Rows are JSON, a line each, in gzip;
what a number or a text is in one database it is in the other.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from sqlalchemy import Connection, LargeBinary, MetaData, Table, func, select, text

from acclimate.errors import RolloutError
from acclimate.rollout.store import tables
from acclimate.rollout.store.database import Database, unhurried
from acclimate.rollout.store.sql import migrate

PAGE = 1_000
LEFT_OUT = {"leases", "proofs", "sessions"}
"""Who leads, proves a key or sits before the console at this moment is nobody's business later."""


@dataclass(frozen=True)
class Dump:
    """What was written: the schema's revision, and the rows of each table."""

    revision: str
    rows: dict[str, int]


def dump(database: Database, folder: Path) -> Dump:
    """Write every table below `folder` as `<table>.jsonl.gz`, all of one moment."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with database.read(long=True) as connection:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        counts = {table.name: _write(connection, table, folder) for table in _all()}
    return Dump(str(revision), counts)


def load(database: Database, folder: Path, dumped: Dump) -> None:
    """Bring an empty database to what `dump` wrote, in one transaction, then its schema up to date.

    Raises:
        RolloutError: the database holds something, or a file holds other than `dumped` says.
    """
    with database.write() as connection:
        unhurried(connection)
        migrate(connection, dumped.revision)
        _refuse_filled(connection)
        found = MetaData()
        found.reflect(connection)
        for name in (table.name for table in _all() if table.name in dumped.rows):
            rows = _read(connection, found.tables[name], folder / f"{name}.jsonl.gz")
            if rows != dumped.rows[name]:
                raise RolloutError(f"the backup's table {name} has {rows} rows, not {dumped.rows[name]}")
            _go_on_counting(connection, found.tables[name])
        migrate(connection)


def _all() -> list[Table]:
    return [table for table in tables.metadata.sorted_tables if table.name not in LEFT_OUT]


def _refuse_filled(connection: Connection) -> None:
    for table in _all():
        if connection.dialect.has_table(connection, table.name):
            count = connection.scalar(select(func.count()).select_from(text(table.name))) or 0
            if count:
                raise RolloutError(
                    f"the database holds {count} rows of {table.name} already: restore into an empty one, "
                    "with another --home or --database-url"
                )


def _write(connection: Connection, table: Table, folder: Path) -> int:
    count = 0
    streamed = connection.execution_options(yield_per=PAGE)
    with _zipped(folder / f"{table.name}.jsonl.gz", "wb") as file:
        for row in streamed.execute(select(table).order_by(*table.primary_key.columns)).mappings():
            values = {name: _plain(value) for name, value in row.items()}
            file.write(json.dumps(values, separators=(",", ":"), allow_nan=False).encode() + b"\n")
            count += 1
    return count


def _read(connection: Connection, table: Table, path: Path) -> int:
    count, page = 0, list[dict[str, Any]]()
    binary = {column.name for column in table.columns if isinstance(column.type, LargeBinary)}
    for values in _lines(path):
        for name in binary & values.keys():
            values[name] = base64.b64decode(values[name])
        page.append(values)
        count += 1
        if len(page) == PAGE:
            connection.execute(table.insert(), page)
            page = []
    if page:
        connection.execute(table.insert(), page)
    return count


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with _zipped(path, "rb") as file:
        for line in file:
            yield json.loads(line)


def _zipped(path: Path, mode: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, mode, compresslevel=6))


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _go_on_counting(connection: Connection, table: Table) -> None:
    """PostgreSQL counts `sequence` columns apart from the rows; SQLite by them."""
    if connection.dialect.name == "postgresql" and "sequence" in table.columns:
        last = connection.scalar(select(func.max(table.c.sequence)))
        if last is not None:
            query = text("SELECT setval(pg_get_serial_sequence(:name, 'sequence'), :last)")
            connection.execute(query, {"name": table.name, "last": last})
