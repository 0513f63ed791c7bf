"""The store's contract over a real PostgreSQL server, and what only a server can do: die."""

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from acclimate.errors import RolloutError
from acclimate.rollout.store import SqlStore, open_store
from acclimate.rollout.store.database import Database
from acclimate.rollout.store.sql import migrate
from acclimate.rollout.store.tables import metadata
from tests.support import controller_contract as controller
from tests.support import rollout_contract
from tests.support import store_contract as contract
from tests.support.campaign_contract import CampaignContract
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow


@pytest.fixture
def store(postgres: PostgresServer) -> Iterator[SqlStore]:
    opened = open_store(postgres.new_database())
    yield opened
    opened.close()


class TestFleets(contract.FleetContract): ...


class TestDevices(contract.DeviceContract): ...


class TestEnrolment(contract.EnrolmentContract): ...


class TestRollouts(rollout_contract.RolloutContract): ...


class TestObservations(rollout_contract.ObservationContract): ...


class TestReports(rollout_contract.ReportContract): ...


class TestAccess(contract.AccessContract): ...


class TestCampaigns(CampaignContract): ...


class TestLeases(contract.LeaseContract): ...


class TestController(controller.ControllerContract): ...


def test_replicas_that_start_together_migrate_once(postgres: PostgresServer):
    url, opened = postgres.new_database(), []
    threads = [threading.Thread(target=lambda: opened.append(open_store(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.fleets() for one in opened] == [[]] * 4
    for one in opened:
        one.close()


def test_a_server_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(RolloutError, match=r"127\.0\.0\.1:1/none cannot be reached") as caught:
        open_store("postgresql://ada:hidden@127.0.0.1:1/none")
    assert "hidden" not in str(caught.value)


def test_migrations_lead_to_the_tables(postgres: PostgresServer):
    database = Database.connect(postgres.new_database())
    with database.write() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()
