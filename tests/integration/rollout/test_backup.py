"""A backup moves an installation between databases: SQLite to PostgreSQL and back, row for row."""

from pathlib import Path

import pytest

from acclimate.rollout.backup import back_up, restore
from acclimate.rollout.server import prepare
from acclimate.rollout.settings import ServiceSettings
from tests.support.postgres import PostgresServer
from tests.support.rollout_samples import NOW, a_report
from tests.unit.rollout.test_backup import everything, fill, quiet

pytestmark = pytest.mark.slow


def test_a_backup_of_either_database_restores_into_the_other(tmp_path: Path, postgres: PostgresServer):
    small = ServiceSettings(home=tmp_path / "small")
    store = prepare(small)
    fill(store)
    before = everything(store)
    back_up(small, tmp_path / "first", NOW, quiet)
    store.close()

    large = ServiceSettings(home=tmp_path / "large", database_url=postgres.new_database())
    restore(tmp_path / "first", large, quiet)
    store = prepare(large)
    assert everything(store) == before
    last = store.last_sequence("home")
    assert store.add_reports([a_report("device-00001", 99)]) == 1
    assert store.last_sequence("home") > last, "PostgreSQL counts on from the restored rows"
    after = everything(store)
    back_up(large, tmp_path / "second", NOW, quiet)
    store.close()

    again = ServiceSettings(home=tmp_path / "again")
    restore(tmp_path / "second", again, quiet)
    store = prepare(again)
    assert everything(store) == after
    store.close()
