"""Fixtures that more than one kind of test uses."""

import os
from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer

# Ray runs workers at niceness 15: beside a busy neighbour a test would wait for them for minutes.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole session; `postgres.new_database()` gives an empty database."""
    server = PostgresServer(fsync=False)
    yield server
    server.close()
