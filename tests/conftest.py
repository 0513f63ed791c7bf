"""Fixtures that more than one kind of test uses."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole session; `postgres.new_database()` gives an empty database."""
    server = PostgresServer(fsync=False)
    yield server
    server.close()
