"""A migration that is killed at any of its statements leaves the schema from before it, and is begun anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from acclimate.rollout.store import open_store
from acclimate.rollout.store.database import Database
from acclimate.rollout.store.sql import migrate
from acclimate.rollout.store.tables import metadata
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow
POINTS = 5
KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from acclimate.rollout.store import open_store

def start(url, point):
    done = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_):
        nonlocal done
        done += 1
        if done == point:
            os.kill(os.getpid(), signal.SIGKILL)

    open_store(url)
    print(done, flush=True)
    os._exit(0)

for url, point in zip(sys.argv[1::2], sys.argv[2::2]):
    child = os.fork()
    if not child:
        start(url, int(point))
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""Opens stores, each in a process that dies at a statement, or says how many there were; and how it ended."""
Copy = Callable[[int], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Copy]:
    """Makes a database at a revision, and what gives URLs of copies of it."""
    server: PostgresServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")

    def made(revision: str) -> Copy:
        url = server.new_database() if server else f"sqlite:///{tmp_path / 'before.db'}"
        database = Database.connect(url)
        if revision:
            with database.write() as connection:
                migrate(connection, revision)
                connection.exec_driver_sql(
                    "INSERT INTO fleets (name, created_at, revision, floor, baselines, poll_interval_s, "
                    "device_quota) VALUES ('kept', 1.0, 1, 0, '[]', 60.0, 7)"
                )
        database.close()

        def copy(number: int) -> str:
            if server is None:
                shutil.copy(tmp_path / "before.db", tmp_path / f"{number}.db")
                return f"sqlite:///{tmp_path / f'{number}.db'}"
            name = url.rpartition("/")[2]
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}_{number} TEMPLATE {name}")
            return server.url(f"{name}_{number}")

        return copy

    return made


@pytest.mark.parametrize("revision", ["", "0009"])
def test_the_next_start_finds_what_was_there_and_ends_the_migration(copies, revision: str):
    copy = copies(revision)
    statements, ended = started(copy(0), 0)
    assert ended == 0
    points = sorted({1 + round(place * (statements - 1) / POINTS) for place in range(1, POINTS + 1)})
    urls = [copy(point) for point in points]
    assert started(*chain.from_iterable(zip(urls, points, strict=True))) == [-signal.SIGKILL] * len(points)
    for url in urls:
        store = open_store(url)
        with store._database.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert [one.name for one in store.fleets()] == ["kept"] * bool(revision)
        store.close()


def started(*given: str | int) -> list[int]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", KILLED, *map(str, given)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return [int(one) for one in said.stdout.split()]
