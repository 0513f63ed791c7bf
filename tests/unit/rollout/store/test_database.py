"""Opening a database: its schema, and what is told of one that cannot be opened."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from acclimate.errors import RolloutError
from acclimate.rollout.store import open_store
from acclimate.rollout.store.database import Database
from acclimate.rollout.store.sql import migrate
from acclimate.rollout.store.tables import metadata


def test_migrations_lead_to_the_tables_and_again_change_nothing(url: str):
    database = Database.connect(url)
    for _ in range(2):
        with database.write() as connection:
            migrate(connection)
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_replicas_that_start_together_migrate_once(url: str):
    opened = []
    threads = [threading.Thread(target=lambda: opened.append(open_store(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.fleets() for one in opened] == [[]] * 4
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("mysql://h/db", "'mysql'"),
        ("nonsense", "no database URL"),
        ("sqlite://", "needs a file"),
        ("postgresql://ada:hidden@127.0.0.1:1/none", r"127\.0\.0\.1:1/none cannot be reached"),
    ],
)
def test_a_wrong_url_is_named_without_its_password(wrong: str, reason: str):
    with pytest.raises(RolloutError, match=reason) as caught:
        open_store(wrong)
    assert "hidden" not in str(caught.value)
