"""The store's contract over SQLite, the embedded default."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.store import SqlStore, open_store
from tests.support import controller_contract as controller
from tests.support import rollout_contract
from tests.support import store_contract as contract
from tests.support.campaign_contract import CampaignContract


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
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


@pytest.mark.parametrize(
    ("url", "reason"),
    [("mysql://h/db", "'mysql'"), ("nonsense", "no database URL"), ("sqlite://", "needs a file")],
)
def test_a_wrong_url_is_named(url: str, reason: str):
    with pytest.raises(RolloutError, match=reason):
        open_store(url)


class TestController(controller.ControllerContract): ...
