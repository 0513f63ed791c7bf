"""Opening a database: its schema, and what is told of one that cannot be opened."""

import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from acclimate.errors import RolloutError
from acclimate.files import sqlite_file
from acclimate.rollout.api.problems import from_exception
from acclimate.rollout.domain.access import EnrolmentToken
from acclimate.rollout.domain.fleet import Fleet, Member
from acclimate.rollout.server import prepare
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import database, open_store, rows
from acclimate.rollout.store.database import Database, unhurried
from acclimate.rollout.store.reports import ORDER_LOCK
from acclimate.rollout.store.sql import migrate
from acclimate.rollout.store.tables import metadata
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.rollout_samples import NOW, a_device, a_fleet_with, a_report
from tests.support.together import at_once


def test_migrations_lead_to_the_tables_and_again_change_nothing(url: str):
    database = Database.connect(url)
    for _ in range(2):
        with database.write() as connection:
            migrate(connection)
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_replicas_that_start_together_migrate_once(url: str):
    opened = at_once(open_store, [url] * 4)
    assert [one.fleets() for one in opened] == [[]] * 4
    for one in opened:
        one.close()


def test_a_database_that_a_newer_version_migrated_is_used_as_it_is(
    url: str, caplog: pytest.LogCaptureFixture
):
    newer = open_store(url)
    a_fleet_with(newer, devices=2)
    with newer._database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE devices ADD COLUMN hue TEXT DEFAULT '' NOT NULL")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    newer.close()
    rolled_back = open_store(url)
    rolled_back.add_devices([a_device(7)], NOW, "ada")
    assert rolled_back.count_devices("home") == 3
    with rolled_back._database.read() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0999"
    rolled_back.close()
    assert "event=schema_newer revision=0999" in caplog.text


@pytest.mark.parametrize("revision", ["0003", "1a2b3c", "-0999", "२०००"])
def test_a_schema_of_which_no_version_knows_is_refused(tmp_path: Path, revision: str):
    url = f"sqlite:///{tmp_path / 'rollout.db'}"
    store = open_store(url)
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = ?", (revision,))
    store.close()
    with pytest.raises(RolloutError, match=rf"revision '{revision}'.*does not know: .*restore a backup"):
        open_store(url)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("mysql://h/db", "'mysql'"),
        ("nonsense", "no database URL"),
        ("sqlite://", "needs a file"),
        ("sqlite:////proc/x.db", r"/proc/x\.db cannot be made .*name another place"),
        ("sqlite:////proc/deep/x.db", r"/proc/deep/x\.db cannot be made"),
        ("postgresql://ada:hidden@127.0.0.1:1/none", r"127\.0\.0\.1:1/none cannot be reached"),
        ("postgresql://ada@127.0.0.1:1/none?password=hidden", r"ada@127\.0\.0\.1:1/none.* cannot be reached"),
        ("ada:hidden@127.0.0.1/none", "no database URL"),
    ],
)
def test_a_wrong_url_is_named_without_its_password(wrong: str, reason: str):
    with pytest.raises(RolloutError, match=reason) as caught:
        open_store(wrong)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["plain", "what?a=b", "per%41cent", "ha#sh", "a b'c", "ü-日本", "b[x]{y}", "b\\x"]
)
def test_a_database_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str):
    home = tmp_path / name
    settings = ServiceSettings(home=home)
    prepare(settings).close()
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert [path.name for path in home.iterdir()] == ["rollout.db"]  # its log was taken in at the end
    assert sqlite_file(settings.database) == home / "rollout.db"


def test_a_server_that_never_answers_is_told_soon():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/none?connect_timeout=2"
        with pytest.raises(RolloutError, match="cannot be reached"):
            open_store(url)


@pytest.mark.slow
def test_a_locked_table_stops_only_who_needs_it(postgres: PostgresServer):
    url = postgres.new_database()
    store = open_store(url)
    with psycopg.connect(url.replace("+psycopg", "")) as somebody:
        somebody.execute("LOCK TABLE fleets IN ACCESS EXCLUSIVE MODE")
        failed = at_once(lambda _: store.fleets(), range(30))  # more than there are connections
        told = [from_exception(error) for error in failed]
        assert {(one.status, one.detail) for one in told} == {
            (503, "the database is busy: somebody keeps locked what this needs")
        }
        store.ping(0.0)  # and what needs no such table goes on
    assert store.fleets() == []
    store.close()


def test_a_device_enrols_at_the_same_cost_in_a_fleet_of_any_size(tmp_path: Path):
    store, twin = (open_store(f"sqlite:///{tmp_path / 'rollout.db'}") for _ in range(2))
    store.add_fleet(Fleet("home", NOW), "ada")
    store.add_enrolment_token(EnrolmentToken("batch", "home", "f" * 64, NOW, "ada", quota=5_000), "ada")
    spent: list[int] = []

    def step() -> int:
        spent.append(1)
        return 0

    def count(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(step, 10)  # every ten steps of its machine

    event.listen(store._database.engine, "checkout", count)
    costs = []
    for number, others in ((0, 20), (3_000, 1_000)):
        store.add_devices([a_device(number + one) for one in range(others)], NOW, "ada")
        for turn, replica in enumerate((store, twin, store)):  # the first counts what others added
            spent.clear()
            replica.enrol("f" * 64, a_device(3_000_000 + 10 * number + turn), NOW)
        costs.append(len(spent))
    for replica in (store, twin):
        replica.close()
    assert costs[1] < 1.2 * costs[0]


WITHOUT_LOCKS = """
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>
int fcntl64(int file, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (command == F_SETLK || command == F_SETLKW) { errno = ENOLCK; return -1; }
  return syscall(SYS_fcntl, file, command, argument);
}
int fcntl(int file, int command, ...) __attribute__((alias("fcntl64")));
"""


def test_a_file_system_without_locks_is_told_at_once(tmp_path: Path):
    (tmp_path / "nolock.c").write_text(WITHOUT_LOCKS)
    library = tmp_path / "nolock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "nolock.c"], check=True)
    program = "import sys; from acclimate.rollout.store import open_store; open_store(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path / 'rollout.db'}"],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "rollout.db: its file system has no locks" in done.stderr
    assert "a local disk, or use PostgreSQL" in done.stderr


@pytest.mark.slow
def test_a_pooler_may_lend_each_transaction_another_session(postgres: PostgresServer):
    name = postgres.new_database().rpartition("/")[2]
    pooler = PgBouncer(postgres)
    store = open_store(pooler.url(name))
    a_fleet_with(store, devices=3)

    def work(device: str) -> None:
        for turn in range(12):  # a driver prepares what it sends for the sixth time
            store.device("home", device)
            store.set_attributes("home", device, {"turn": turn}, NOW + turn, "ada")

    assert at_once(work, (f"device-0000{one % 3}" for one in range(6))) == [None] * 6
    with psycopg.connect(pooler.url(name)) as other:
        assert other.execute("SHOW lock_timeout").fetchone() == ("0",), (
            "what is set lasts for no other client"
        )
    with store._database.write() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "5s"
    store.close()
    pooler.close()


@pytest.mark.slow
def test_a_replica_that_stands_still_in_a_transaction_keeps_no_other_waiting_for_long(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database, "IDLE_S", 1)
    name = postgres.new_database().rpartition("/")[2]
    pooler = PgBouncer(postgres)
    for url in (postgres.url(name), pooler.url(name)):
        stopped, other = open_store(url), open_store(url)
        locked, go_on, failed = threading.Event(), threading.Event(), list[Exception]()
        thread = threading.Thread(target=stand_still, args=(stopped._database, locked, go_on, failed))
        thread.start()
        locked.wait()
        with other._database.write() as connection:
            other._database.one_after_another(connection, ORDER_LOCK)
        go_on.set()
        thread.join()
        assert len(failed) == 1
        stopped.ping(NOW)
        with stopped._database.read() as connection:
            unhurried(connection)
            time.sleep(1.2)
            connection.exec_driver_sql("SELECT 1")
        for store in (stopped, other):
            store.close()
    pooler.close()


@pytest.mark.slow
def test_a_read_of_a_whole_fleet_takes_its_time(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "IDLE_S", 1)
    name = postgres.new_database().rpartition("/")[2]
    pooler = PgBouncer(postgres)
    for url in (postgres.url(name), pooler.url(name)):
        store = open_store(url)
        if not store.fleets():
            a_fleet_with(store, devices=1)
            store.add_fleet(Fleet("plant", NOW), "ada")
        with monkeypatch.context() as slow:
            slow.setattr(rows, "member_of", slowly(rows.member_of))
            assert [len(one.members) for one in store.changes({})] == [1, 0]
            assert len(store.members("home")) == 1
        store.close()
    pooler.close()


def slowly(member_of: Callable[[rows.Row], Member]) -> Callable[[rows.Row], Member]:
    """Each device takes as long as a million of them."""

    def made(row: rows.Row) -> Member:
        time.sleep(1.3)
        return member_of(row)

    return made


def stand_still(
    stopped: Database, locked: threading.Event, go_on: threading.Event, failed: list[Exception]
) -> None:
    """Lock what all write, then do nothing until `go_on`, as a replica whose machine is paused."""
    try:
        with stopped.write() as connection:
            stopped.one_after_another(connection, ORDER_LOCK)
            locked.set()
            go_on.wait(30)
            stopped.one_after_another(connection, ORDER_LOCK)
    except DBAPIError as error:
        failed.append(error)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_holds_not_every_text_is_refused(postgres: PostgresServer, encoding: str):
    name = f"in_{encoding.lower()}"
    made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
    as_admin(postgres, made)
    with pytest.raises(RolloutError, match=f"encoded in {encoding}.*ENCODING 'UTF8'"):
        open_store(postgres.url(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("SET default_transaction_read_only = on", "cannot be used.*read-only.*takes writes"),
        ("SET search_path = ''", "cannot be used.*no schema.*search_path"),
        ("NOSUPERUSER", "cannot be used.*permission denied.*OWNER TO"),
    ],
)
def test_a_database_that_does_not_let_us_in_is_no_server_that_is_down(
    postgres: PostgresServer, does: str, says: str
):
    url, role = postgres.new_database(), f"role_{secrets.token_hex(4)}"
    as_admin(postgres, f"CREATE ROLE {role} LOGIN SUPERUSER", f"ALTER ROLE {role} {does}")
    with pytest.raises(RolloutError, match=says):
        open_store(url.replace("postgres@", f"{role}@"))


@pytest.mark.slow
def test_what_is_usual_at_a_database_changes_nothing_of_ours(postgres: PostgresServer):
    url = postgres.new_database()
    usual = {
        "default_transaction_isolation": "serializable",
        "client_encoding": "LATIN1",
        "standard_conforming_strings": "off",
        "datestyle": "German",
        "idle_session_timeout": "200ms",
    }
    name = url.rpartition("/")[2]
    as_admin(postgres, *(f"ALTER DATABASE {name} SET {key} = '{value}'" for key, value in usual.items()))
    store = open_store(url)
    a_fleet_with(store, devices=8)

    def work(device: str) -> None:
        for turn in range(12):
            store.set_attributes("home", device, {"site": "Łódź 𝄞"}, NOW + turn, "ada")
            store.add_reports([a_report(device, turn)])

    assert at_once(work, (f"device-0000{one}" for one in range(8))) == [None] * 8
    time.sleep(0.5)  # longer than a session may rest
    assert store.device("home", "device-00000").attributes == {"site": "Łódź 𝄞"}
    assert store.counts("home")[0].reports == 8 * 12
    store.close()


def as_admin(postgres: PostgresServer, *statements: str) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.slow
def test_rights_that_are_lost_meanwhile_are_no_defect_of_ours(postgres: PostgresServer):
    url, role = postgres.new_database(), f"role_{secrets.token_hex(4)}"
    open_store(url).close()
    as_admin(postgres, f"CREATE ROLE {role} LOGIN")
    with psycopg.connect(url) as owner:
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    store = open_store(url.replace("postgres@", f"{role}@"))
    with pytest.raises(DBAPIError) as refused:
        store.ping(NOW)
    store.close()
    problem = from_exception(refused.value)
    assert problem.status == 503
    assert "role lost its right" in problem.detail
