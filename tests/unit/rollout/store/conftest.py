"""Every test of this folder runs over SQLite, the embedded default, and over a real PostgreSQL server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.rollout.store import Store, open_store
from acclimate.rollout.store.tables import metadata
from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database of its own."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'rollout.db'}"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture(scope="session")
def shared(postgres: PostgresServer) -> str:
    """Of one database for all tests: to make and remove one for each takes a minute in all."""
    return postgres.new_database()


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest) -> Iterator[Store]:
    opened = open_store(request.getfixturevalue("url" if kind == "sqlite" else "shared"))
    yield opened
    with opened._database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    opened.close()


@pytest.fixture
def twin(store: Store) -> Iterator[Store]:
    """Another replica's, over the same database."""
    opened = open_store(store._database.engine.url.render_as_string(hide_password=False))
    yield opened
    opened.close()
