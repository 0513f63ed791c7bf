"""A connection pool over SQLite or PostgreSQL, and transactions of two kinds.

SQLite takes its write lock at the start of a writing transaction, so that a transaction that read first is
never refused half-way; it syncs at every commit. PostgreSQL reads in one snapshot.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    Insert,
    Table,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from acclimate.addresses import without_password
from acclimate.errors import RolloutError
from acclimate.rollout.store.sqlite_file import prepare_file
from acclimate.traces import trace_statements

BUSY_TIMEOUT_S = 30.0
LOCK_TIMEOUT_S = 5
"""How long a statement waits for a lock that somebody else holds, and a thread for a connection."""
IDLE_S = 20
"""How long a transaction may do nothing before the server ends it: a replica whose machine stands still, with
its network alive, would keep all others from what it has locked."""
NETWORK = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "client_encoding": "utf8",
}
"""Of PostgreSQL's client library, which by itself waits for minutes for a server that is gone: seconds, and
milliseconds for the last of them; and it writes as the server would. What the URL says comes first."""
ENCODING = "UTF8"
READ_ONLY = ("25006", "57P01")
"""SQL states: a transaction that may only read; a server that is shutting down."""
_LENT = "session lent for a transaction"


class Database:
    """Transactions on one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"

    @staticmethod
    def connect(url: str) -> Database:
        """A pool of connections; none is opened yet.

        Raises:
            RolloutError: not a database URL, or one of another kind.
        """
        parsed = _parse(url)
        if parsed.get_backend_name() == "sqlite":
            engine = _sqlite_engine(parsed)
        else:
            engine = create_engine(
                parsed.update_query_dict({name: str(each) for name, each in NETWORK.items()} | parsed.query),
                pool_size=10,
                max_overflow=10,
                pool_pre_ping=True,
                pool_timeout=LOCK_TIMEOUT_S,
                isolation_level="READ COMMITTED",  # whatever the database or the role has for its usual
            )
            event.listen(engine, "connect", _know_session)
            event.listen(engine, "begin", _limit_transaction)
            event.listen(engine, "handle_error", _leave_read_only_server)
        trace_statements(engine)
        return Database(engine)

    def close(self) -> None:
        """Close idle connections; SQLite's whole state lies in its one file afterwards."""
        self.engine.dispose()
        if self.is_sqlite and self.engine.url.database:
            file = Path(self.engine.url.database).absolute().as_uri()
            with (
                suppress(sqlite3.Error),
                closing(sqlite3.connect(f"{file}?mode=rw", uri=True)) as connection,
            ):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self, long: bool = False) -> Iterator[Connection]:
        """A transaction that sees one moment of the database and changes nothing.

        Args:
            long: it reads as many rows as a fleet has devices, and may take its time with them.
        """
        with self.engine.connect() as connection:
            options: dict[str, Any] = (
                {"deferred": True} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
            )
            with connection.execution_options(**options).begin():
                if long:
                    unhurried(connection)
                yield connection

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def insert_new(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        values: Sequence[Sequence[Any]],
        lock: int | None = None,
    ) -> int:
        """Insert the rows that break no unique constraint; how many did not.

        On PostgreSQL the rows travel as one array a column, three times as quick as a list of VALUES.

        Args:
            names: of the columns.
            values: of each row, in the order of `names`.
            lock: as for `one_after_another`.
        """
        names = tuple(names)
        if self.is_sqlite:
            return connection.exec_driver_sql(_insert_rows(table, names), list(map(tuple, values))).rowcount
        columns = dict(zip(names, map(list, zip(*values, strict=True)), strict=True))
        statement = _insert_arrays(connection.dialect, table, names, lock)
        return connection.exec_driver_sql(statement, columns).rowcount

    @contextmanager
    def write_once(self) -> Iterator[Connection]:
        """`write` for one statement: to PostgreSQL that is a transaction by itself, so its server is asked
        once instead of three times. After each answer a thread waits for the interpreter's lock."""
        with self.engine.connect() as connection:
            if not (self.is_sqlite or connection.info.get(_LENT)):  # there each transaction has its limits
                connection.execution_options(isolation_level="AUTOCOMMIT")
            with connection.begin():
                yield connection

    def one_after_another(self, connection: Connection, lock: int) -> None:
        """Wait for other transactions under `lock` to end. SQLite has one writer anyway."""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})


def _know_session(connection: Any, record: ConnectionPoolEntry) -> None:
    """See whether the server's session is this connection's own.

    A pooler such as PgBouncer names no session of the server's, and may lend another one to each transaction.
    There a statement prepared before is missing, or is another client's, and what is set lasts for others.
    """
    with connection.cursor() as cursor:
        (session,) = cursor.execute("SELECT pg_backend_pid()").fetchone()
        record.info[_LENT] = session != connection.info.backend_pid
        if record.info[_LENT]:
            connection.prepare_threshold = None
        else:
            cursor.execute(_limits("false"))
            # Of a statement alone; whatever the database or the role has for its usual.
            cursor.execute("SET default_transaction_isolation TO 'read committed'")
    connection.commit()


def _limit_transaction(connection: Connection) -> None:
    if connection.info.get(_LENT):
        connection.exec_driver_sql(_limits("true"))


def _limits(for_transaction: str) -> str:
    """A table that an operator's session keeps locked must not take all threads and connections with it."""
    limits = {"lock_timeout": LOCK_TIMEOUT_S, "idle_in_transaction_session_timeout": IDLE_S}
    return "SELECT " + ", ".join(f"set_config('{n}', '{s}s', {for_transaction})" for n, s in limits.items())


def unhurried(connection: Connection) -> None:
    """Let a transaction take its time between two statements: it is at work, and nobody waits for it."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def _leave_read_only_server(context: ExceptionContext) -> None:
    """After a failover the old server may live on, read-only, and its pooled connections with it: they answer
    every ping. Whatever it refuses for that reason ends all of them, and new ones find the new server."""
    if getattr(context.original_exception, "sqlstate", None) in READ_ONLY:
        context.is_disconnect = True


def upsert(
    insert: sqlite.Insert | postgresql.Insert, keys: list[str], updated: list[str], where: Any = None
) -> Insert:
    """The insert, taking over `updated` columns where a row with these `keys` exists."""
    changes = {name: insert.excluded[name] for name in updated}
    return insert.on_conflict_do_update(index_elements=keys, set_=changes, where=where)


@functools.cache
def _insert_rows(table: Table, names: tuple[str, ...]) -> str:
    places = ", ".join("?" for _ in names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places}) ON CONFLICT DO NOTHING"


@functools.cache
def _insert_arrays(dialect: Dialect, table: Table, names: tuple[str, ...], lock: int | None) -> str:
    """Under a lock no row is made before the lock is held, and with it no number of a sequence taken."""
    columns = [table.c[name] for name in names]
    arrays = ", ".join(f"CAST({_place(one)} AS {one.type.compile(dialect)}[])" for one in columns)
    turn = "" if lock is None else f"WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock({lock})) "
    return (
        f"{turn}INSERT INTO {table.name} ({', '.join(names)}) SELECT given.* FROM "
        f"{'turn, ' if turn else ''}unnest({arrays}) AS given ON CONFLICT DO NOTHING"
    )


def _place(column: Column[Any]) -> str:
    """Texts travel in binary: in an array of text each quote is escaped, and a report's JSON has dozens."""
    binary = column.type.python_type is str and not column.nullable
    return f"%({column.name}){'b' if binary else 's'}"


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError) as error:
        raise RolloutError(
            f"{without_password(url)!r} is no database URL: use sqlite:///file.db or postgresql://user@host/name"
        ) from error
    if "@" in (parsed.host or ""):
        raise RolloutError(
            "the database URL has more than one @: in a user's name or password write @ as %40, : as %3A, "
            "/ as %2F, # as %23 and % as %25"
        )
    kind = parsed.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite":
        return parsed.set(drivername="sqlite")
    raise RolloutError(f"databases of kind {kind!r} are not supported: use sqlite:/// or postgresql://")


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise RolloutError("SQLite needs a file, for example sqlite:///rollout.db: memory would be lost")
    prepare_file(Path(url.database).absolute())
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver would open transactions by itself, and too late
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        deferred = connection.get_execution_options().get("deferred")
        statement = "BEGIN" if deferred else "BEGIN IMMEDIATE"
        driver: Any = connection.connection.driver_connection
        try:  # by the driver itself: the framework's statement costs as much as all of a small one
            driver.execute(statement)
        except sqlite3.Error as error:
            raise OperationalError(statement, (), error) from error

    return engine


def check_encoding(connection: Connection) -> None:
    """Refuse a database that does not hold every text, or takes bytes for characters.

    Raises:
        RolloutError: it is one of PostgreSQL in another encoding than UTF-8.
    """
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != ENCODING:
        raise RolloutError(
            f"the database is encoded in {encoding}: give the service one made by CREATE DATABASE name "
            f"TEMPLATE template0 ENCODING '{ENCODING}' LOCALE 'C'"
        )


_REMEDIES = {
    "42501": "give its role the right to make and write tables there: ALTER DATABASE name OWNER TO role",
    "3F000": "make the schema that the role's search_path names, or set that to one that is there",
    "25006": "name the server that takes writes, and see the role's default_transaction_read_only",
}
"""By SQL state, of a database that answers."""


def unreachable(url: str, error: DBAPIError) -> RolloutError:
    """The user's words for a database that does not answer or does not let us in, without its password."""
    reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    known = _REMEDIES.get(getattr(error.orig, "sqlstate", None) or "")
    remedy = known or "start it, or mend the URL"
    if url.startswith("sqlite"):
        remedy = "see what else has it open, and that its disk is neither full nor read-only"
    cannot = "used" if known else "reached"
    return RolloutError(f"the database {without_password(url)} cannot be {cannot} ({reason}): {remedy}")
